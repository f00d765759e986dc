-- leased → running; found and locked as in finish_items.
WITH begun AS MATERIALIZED (
    SELECT items.seq, items.state AS was, told.* FROM jsonb_to_recordset(%(rows)s::jsonb) AS told (
        id TEXT, token TEXT, handle TEXT, run_dir TEXT
    )
    JOIN items ON items.id = told.id AND items.token = told.token
    ORDER BY items.id FOR NO KEY UPDATE OF items
)
UPDATE items
SET state = 'running', handle = begun.handle, run_dir = begun.run_dir, started_at = %(now)s, changed_at = %(now)s, reason = NULL
FROM begun
WHERE items.seq = begun.seq AND items.token = begun.token AND begun.was = 'leased'
RETURNING items.id
