-- For each queue that lets its items be taken, and each thing that those that wait ask for: the first of them, how full
-- the queue is, and a limit without a place for it.
WITH wanted AS (
    SELECT name, max_running, (
        SELECT count(*) FROM items AS busy WHERE busy.queue = queues.name AND busy.state IN ('leased', 'running')
    ) AS busy
    FROM queues WHERE name IN (SELECT jsonb_array_elements_text(%(queues)s::jsonb)) AND NOT paused
)
SELECT wanted.name AS queue, max_running, busy, 0 AS needs, NULL AS asked, NULL AS full_limit, first.priority, first.seq
FROM wanted CROSS JOIN LATERAL (
    SELECT priority, seq FROM items
    WHERE items.queue = wanted.name AND state = 'pending' AND hold IS NULL AND items.needs IS NULL
    ORDER BY priority, seq LIMIT 1
) AS first
UNION ALL
SELECT wanted.name, max_running, busy, needs.id, needs.asked, (
    SELECT place.key FROM jsonb_each_text(needs.asked::jsonb -> 'limits') AS place
    WHERE place.value::bigint <= (
        SELECT count(*) FROM items AS busy JOIN needs AS used ON used.id = busy.needs
        WHERE busy.state IN ('leased', 'running') AND busy.needs IS NOT NULL
            AND jsonb_exists(used.asked::jsonb -> 'limits', place.key)
    ) ORDER BY place.key LIMIT 1
), first.priority, first.seq
FROM wanted CROSS JOIN needs CROSS JOIN LATERAL (
    SELECT priority, seq FROM items
    WHERE items.queue = wanted.name AND items.needs = needs.id AND state = 'pending' AND hold IS NULL
    ORDER BY priority, seq LIMIT 1
) AS first
ORDER BY priority, seq
