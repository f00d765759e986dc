-- leased → running, so that it never expires any more
UPDATE items
SET state = 'running', handle = begun.handle, run_dir = begun.run_dir, started_at = :now, changed_at = :now, reason = NULL,
    expires_at = NULL
FROM (
    SELECT value ->> 'id' AS id, value ->> 'token' AS token, value ->> 'handle' AS handle, value ->> 'run_dir' AS run_dir
    FROM json_each(:rows)
) AS begun
WHERE items.id = begun.id AND items.token = begun.token AND items.state = 'leased'
RETURNING id
