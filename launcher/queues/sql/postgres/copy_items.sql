INSERT INTO items (
    id, queue, sweep, priority, name, shape, leaves, point, fingerprint, max_attempts, added_at, changed_at, expires_at
)
SELECT id, queue, sweep, priority, name, %(first_shape)s + shape, leaves, point, fingerprint, max_attempts, %(now)s, %(now)s,
    %(now)s + expires_in
FROM staged_items ORDER BY seq
