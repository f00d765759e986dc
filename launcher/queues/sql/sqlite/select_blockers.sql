-- For each queue that lets its items be taken, and each thing that those that wait ask for: the first of them, how full
-- the queue is, and a limit without a place for it.
WITH wanted AS (
    SELECT queues.name, queues.max_running, (
        SELECT count(*) FROM items AS busy WHERE busy.queue = queues.name AND busy.state IN ('leased', 'running')
    ) AS busy
    FROM json_each(:queues) AS given CROSS JOIN queues ON queues.name = given.value AND NOT queues.paused
)
SELECT wanted.name AS queue, max_running, busy, 0 AS needs, NULL AS asked, NULL AS full_limit, items.priority, items.seq
FROM wanted CROSS JOIN items ON items.seq = (
    SELECT seq FROM items AS plain
    WHERE plain.queue = wanted.name AND state = 'pending' AND hold IS NULL AND plain.needs IS NULL
    ORDER BY priority, seq LIMIT 1
)
UNION ALL
SELECT wanted.name, max_running, busy, needs.id, needs.asked, (
    SELECT place.key FROM json_each(needs.asked, '$.limits') AS place
    WHERE place.value <= (
        SELECT count(*) FROM items AS busy CROSS JOIN needs AS used ON used.id = busy.needs
        WHERE busy.state IN ('leased', 'running') AND busy.needs IS NOT NULL
            AND EXISTS (SELECT 1 FROM json_each(used.asked, '$.limits') AS taken WHERE taken.key = place.key)
    ) ORDER BY place.key LIMIT 1
), items.priority, items.seq
FROM wanted CROSS JOIN needs CROSS JOIN items ON items.seq = (
    SELECT seq FROM items AS sized
    WHERE sized.queue = wanted.name AND sized.needs = needs.id AND state = 'pending' AND hold IS NULL
    ORDER BY priority, seq LIMIT 1
)
ORDER BY 7, 8
