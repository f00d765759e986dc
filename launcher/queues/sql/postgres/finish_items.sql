-- leased | running → what each outcome says. An item that shall be tried again is cancelled if that was asked for. The
-- items are found by their IDs and locked in the order of these, as by all who lock several that somebody holds, so that
-- none waits for the other for ever; what is read of them then stays until they are written.
WITH ended AS MATERIALIZED (
    SELECT items.seq, items.state AS was, told.* FROM jsonb_to_recordset(%(rows)s::jsonb) AS told (
        id TEXT, token TEXT, state TEXT, again BOOLEAN, not_before DOUBLE PRECISION, "grant" INTEGER, exit_code INTEGER,
        stage TEXT, reason TEXT, result TEXT
    )
    JOIN items ON items.id = told.id AND items.token = told.token
    ORDER BY items.id FOR NO KEY UPDATE OF items
)
UPDATE items
SET state = CASE WHEN NOT ended.again THEN ended.state WHEN stop_requested THEN 'cancelled' ELSE 'pending' END,
    hold = CASE WHEN ended.again AND NOT stop_requested AND ended.not_before IS NOT NULL THEN 'backoff' END,
    not_before = CASE WHEN ended.again AND NOT stop_requested THEN ended.not_before END,
    max_attempts = max_attempts + ended."grant", token = NULL, agent = NULL, actor = agent, stop_requested = false,
    exit_code = ended.exit_code, stage = ended.stage, reason = ended.reason, result = ended.result,
    finished_at = %(now)s, changed_at = %(now)s
FROM ended
WHERE items.seq = ended.seq AND items.token = ended.token AND ended.was IN ('leased', 'running')
RETURNING items.id
