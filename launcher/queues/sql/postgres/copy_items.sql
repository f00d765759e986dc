WITH added AS (
    INSERT INTO items (
        id, queue, sweep, priority, name, shape, leaves, point, max_attempts, added_at, changed_at, expires_at, needs
    )
    SELECT staged_items.id, queue, sweep, priority, name, %(first_shape)s + shape, leaves, point, max_attempts, %(now)s,
        %(now)s, %(now)s + expires_in, needs.id
    FROM staged_items LEFT JOIN needs ON needs.asked = staged_items.needs ORDER BY seq
    RETURNING seq, id
)
INSERT INTO identities
SELECT id, added.seq, sweep, fingerprint FROM added JOIN staged_items USING (id)
