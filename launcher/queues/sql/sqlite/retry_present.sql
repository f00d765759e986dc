-- failed → pending: what a push brings again and the sweep has only as failed; the newest of it.
UPDATE items SET state = 'pending', max_attempts = max(max_attempts, attempt + 1), actor = NULL,
    reason = 'added again', stage = NULL, exit_code = NULL, result = NULL, finished_at = NULL, expires_at = NULL,
    changed_at = :now
WHERE state = 'failed' AND seq IN (
    SELECT max(had.seq)
    FROM (SELECT DISTINCT value AS fingerprint FROM json_each(:fingerprints)) AS brought
    CROSS JOIN items AS had ON had.sweep = :sweep AND had.fingerprint = brought.fingerprint
    GROUP BY had.fingerprint HAVING min(had.state = 'failed')
)
