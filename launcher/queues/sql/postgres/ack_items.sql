-- leased → running, so that it never expires any more; looked up and locked as in finish_items.
WITH begun AS MATERIALIZED (
    SELECT ours.seq, ours.was, told.* FROM (
        SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS row (id TEXT, token TEXT, handle TEXT, run_dir TEXT)
        ORDER BY id COLLATE "C"
    ) AS told CROSS JOIN LATERAL (
        SELECT seq, items.state AS was FROM items
        WHERE seq = (SELECT item FROM identities WHERE identities.id = told.id) AND items.token = told.token
        FOR NO KEY UPDATE
    ) AS ours
)
UPDATE items
SET state = 'running', handle = begun.handle, run_dir = begun.run_dir, started_at = %(now)s, changed_at = %(now)s, reason = NULL,
    expires_at = NULL
FROM begun
WHERE items.seq = begun.seq AND items.token = begun.token AND begun.was = 'leased'
RETURNING items.id
