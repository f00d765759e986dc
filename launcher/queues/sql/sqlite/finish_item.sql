-- leased | running → what the outcome says. An item that shall be tried again is cancelled if that was asked for.
UPDATE items
SET state = CASE WHEN NOT :again THEN :state WHEN stop_requested THEN 'cancelled' ELSE 'pending' END,
    hold = CASE WHEN :again AND NOT stop_requested AND :not_before IS NOT NULL THEN 'backoff' END,
    not_before = CASE WHEN :again AND NOT stop_requested THEN :not_before END,
    max_attempts = max_attempts + :grant, token = NULL, agent = NULL, actor = agent, stop_requested = 0,
    exit_code = :exit_code, stage = :stage, reason = :reason, result = :result, finished_at = :now, changed_at = :now
WHERE token = :token AND id = :id AND state IN ('leased', 'running')
