-- leased → running
UPDATE items
SET state = 'running', handle = %(handle)s, run_dir = %(run_dir)s, started_at = %(now)s, changed_at = %(now)s, reason = NULL
WHERE token = %(token)s AND id = %(id)s AND state = 'leased'
