-- leased | running → what each outcome says. An item that shall be tried again is cancelled if that was asked for. The
-- items are looked up one by one, by ID, whatever the planner knows of the table, and locked in the order of their IDs, as
-- by all who lock several that somebody holds, so that none waits for the other for ever.
WITH ended AS MATERIALIZED (
    SELECT ours.seq, ours.was, told.* FROM (
        SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS row (
            id TEXT, token TEXT, state TEXT, again BOOLEAN, not_before DOUBLE PRECISION, "grant" INTEGER,
            exit_code INTEGER, stage TEXT, reason TEXT, result TEXT, began DOUBLE PRECISION,
            ended DOUBLE PRECISION
        ) ORDER BY id COLLATE "C"
    ) AS told CROSS JOIN LATERAL (
        SELECT seq, items.state AS was FROM items
        WHERE seq = (SELECT item FROM identities WHERE identities.id = told.id) AND items.token = told.token
        FOR NO KEY UPDATE
    ) AS ours
)
UPDATE items
SET state = CASE WHEN NOT ended.again THEN ended.state WHEN stop_requested THEN 'cancelled' ELSE 'pending' END,
    hold = CASE WHEN ended.again AND NOT stop_requested AND ended.not_before IS NOT NULL THEN 'backoff' END,
    not_before = CASE WHEN ended.again AND NOT stop_requested THEN ended.not_before END,
    max_attempts = max_attempts + ended."grant", token = NULL, agent = NULL, actor = agent, stop_requested = false,
    exit_code = ended.exit_code, stage = ended.stage, reason = ended.reason, result = ended.result,
    started_at = coalesce(ended.began, started_at), finished_at = coalesce(ended.ended, %(now)s), changed_at = %(now)s
FROM ended
WHERE items.seq = ended.seq AND items.token = ended.token AND ended.was IN ('leased', 'running')
RETURNING items.id
