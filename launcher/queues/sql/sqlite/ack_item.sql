-- leased → running
UPDATE items
SET state = 'running', handle = :handle, run_dir = :run_dir, started_at = :now, changed_at = :now, reason = NULL
WHERE token = :token AND id = :id AND state = 'leased'
