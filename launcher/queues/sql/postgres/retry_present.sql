-- failed → pending: what a push brings again and the sweep has only as failed; the newest of it.
UPDATE items SET state = 'pending', max_attempts = greatest(max_attempts, attempt + 1), actor = NULL,
    reason = 'added again', stage = NULL, exit_code = NULL, result = NULL, finished_at = NULL, expires_at = NULL,
    changed_at = %(now)s
WHERE state = 'failed' AND seq IN (
    SELECT max(had.seq)
    FROM (SELECT DISTINCT jsonb_array_elements_text(%(fingerprints)s::jsonb) AS fingerprint) AS brought
    JOIN identities AS known ON known.sweep = %(sweep)s AND known.fingerprint = brought.fingerprint
    JOIN items AS had ON had.seq = known.item
    GROUP BY known.fingerprint HAVING bool_and(had.state = 'failed')
)
