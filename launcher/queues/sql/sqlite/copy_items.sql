INSERT INTO items (
    id, queue, sweep, priority, name, base, difference, point, fingerprint, max_attempts, added_at, changed_at
)
SELECT id, queue, sweep, priority, name, :offset + base, difference, point, fingerprint, :max_attempts, :now, :now
FROM staged_items ORDER BY seq
