INSERT INTO items (
    id, queue, sweep, priority, name, shape, leaves, point, fingerprint, max_attempts, added_at, changed_at, expires_at,
    needs
)
SELECT id, queue, sweep, priority, name, :first_shape + shape, leaves, point, fingerprint, max_attempts, :now, :now,
    :now + expires_in, (SELECT needs.id FROM needs WHERE needs.asked = staged_items.needs)
FROM staged_items ORDER BY seq
