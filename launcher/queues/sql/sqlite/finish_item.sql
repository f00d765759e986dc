-- leased | running → what the outcome says. An item that would be put back (`again`) is cancelled if that was asked for,
-- waits while it has attempts left, and else has failed.
UPDATE items
SET state = CASE
        WHEN NOT :again THEN :state
        WHEN stop_requested THEN 'cancelled'
        WHEN attempt < max_attempts + :grant THEN 'pending'
        ELSE 'failed'
    END,
    max_attempts = max_attempts + :grant, token = NULL, agent = NULL, actor = agent, stop_requested = 0,
    exit_code = :exit_code, stage = :stage, reason = :reason, result = :result, finished_at = :now, changed_at = :now
WHERE token = :token AND id = :id AND state IN ('leased', 'running')
