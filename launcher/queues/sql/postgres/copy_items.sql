-- Each gathered row gets its number first: what goes into one table need not be looked up for the other.
WITH numbered AS MATERIALIZED (
    SELECT nextval('items_seq_seq') AS item, gathered.* FROM (
        SELECT staged_items.*, needs.id AS need
        FROM staged_items LEFT JOIN needs ON needs.asked = staged_items.needs ORDER BY seq
    ) AS gathered
),
added AS (
    INSERT INTO items (
        seq, id, queue, sweep, priority, name, shape, leaves, point, max_attempts, added_at, changed_at, expires_at, needs
    )
    OVERRIDING SYSTEM VALUE
    SELECT item, id, queue, sweep, priority, name, %(first_shape)s + shape, leaves, point, max_attempts, %(now)s,
        %(now)s, %(now)s + expires_in, need
    FROM numbered
)
INSERT INTO identities SELECT id, item, sweep, fingerprint FROM numbered
