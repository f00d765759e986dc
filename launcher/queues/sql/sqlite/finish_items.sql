-- leased | running → what each outcome says. An item that shall be tried again is cancelled if that was asked for.
UPDATE items
SET state = CASE WHEN NOT ended.again THEN ended.state WHEN stop_requested THEN 'cancelled' ELSE 'pending' END,
    hold = CASE WHEN ended.again AND NOT stop_requested AND ended.not_before IS NOT NULL THEN 'backoff' END,
    not_before = CASE WHEN ended.again AND NOT stop_requested THEN ended.not_before END,
    max_attempts = max_attempts + ended.more, token = NULL, agent = NULL, actor = agent, stop_requested = 0,
    exit_code = ended.exit_code, stage = ended.stage, reason = ended.reason, result = ended.result,
    started_at = coalesce(ended.began, started_at), finished_at = coalesce(ended.ended, :now), changed_at = :now
FROM (
    SELECT value ->> 'id' AS id, value ->> 'token' AS token, value ->> 'state' AS state, value ->> 'again' AS again,
        value ->> 'not_before' AS not_before, value ->> 'grant' AS more, value ->> 'exit_code' AS exit_code,
        value ->> 'stage' AS stage, value ->> 'reason' AS reason, value ->> 'result' AS result, value ->> 'began' AS began,
        value ->> 'ended' AS ended
    FROM json_each(:rows)
) AS ended
WHERE items.id = ended.id AND items.token = ended.token AND items.state IN ('leased', 'running')
RETURNING id
