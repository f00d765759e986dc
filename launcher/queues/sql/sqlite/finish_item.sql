-- leased | running → what the outcome says; a put-back item (`again`) waits while it has attempts left, else it failed.
UPDATE items
SET state = CASE WHEN NOT :again THEN :state WHEN attempt < max_attempts + :grant THEN 'pending' ELSE 'failed' END,
    max_attempts = max_attempts + :grant, token = NULL, agent = NULL, actor = agent, stop_requested = 0,
    exit_code = :exit_code, stage = :stage, reason = :reason, result = :result, finished_at = :now, changed_at = :now
WHERE token = :token AND id = :id AND state IN ('leased', 'running')
