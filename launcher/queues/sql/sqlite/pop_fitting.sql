-- pending → leased: the first item, by priority, then age, that the agent could hold at all and whose limits have places,
-- if it fits into what is free; else none, so that big items are not passed by smaller ones for ever.
WITH open_queues AS (
    SELECT queues.name FROM json_each(:queues) AS wanted
    CROSS JOIN queues ON queues.name = wanted.value AND NOT queues.paused
    WHERE queues.max_running IS NULL OR queues.max_running > (
        SELECT count(*) FROM items AS busy WHERE busy.queue = queues.name AND busy.state IN ('leased', 'running')
    )
),
possible AS (
    SELECT id FROM needs
    WHERE asked ->> 'cpus' <= :cpus AND asked ->> 'memory' <= :memory AND asked ->> 'gpus' <= :gpus
        AND NOT EXISTS (
            SELECT 1 FROM json_each(needs.asked, '$.limits') AS place
            WHERE place.value <= (
                SELECT count(*) FROM items AS busy CROSS JOIN needs AS used ON used.id = busy.needs
                WHERE busy.state IN ('leased', 'running') AND busy.needs IS NOT NULL
                    AND EXISTS (SELECT 1 FROM json_each(used.asked, '$.limits') AS taken WHERE taken.key = place.key)
            )
        )
),
firsts AS (
    SELECT items.seq, items.priority FROM open_queues CROSS JOIN items ON items.seq = (
        SELECT seq FROM items AS plain
        WHERE plain.queue = open_queues.name AND state = 'pending' AND hold IS NULL AND needs IS NULL
        ORDER BY priority, seq LIMIT 1
    )
    UNION ALL
    SELECT items.seq, items.priority FROM open_queues CROSS JOIN possible CROSS JOIN items ON items.seq = (
        SELECT seq FROM items AS sized
        WHERE sized.queue = open_queues.name AND sized.needs = possible.id AND state = 'pending' AND hold IS NULL
        ORDER BY priority, seq LIMIT 1
    )
)
UPDATE items
SET state = 'leased', agent = :agent, actor = :agent, reason = NULL, token = lower(hex(randomblob(8))),
    attempt = attempt + 1, changed_at = :now, stop_requested = 0, started_at = NULL, finished_at = NULL,
    run_dir = NULL, handle = NULL, exit_code = NULL, stage = NULL, result = NULL
WHERE state = 'pending' AND hold IS NULL AND seq = (SELECT seq FROM firsts ORDER BY priority, seq LIMIT 1)
    AND (needs IS NULL OR needs IN (
        SELECT id FROM needs
        WHERE asked ->> 'cpus' <= :free_cpus AND asked ->> 'memory' <= :free_memory
            AND asked ->> 'gpus' <= CASE WHEN asked ->> 'gpus' < 1 THEN :free_part ELSE :free_gpus END
    ))
RETURNING seq, id, queue, sweep, priority, name, point, attempt, max_attempts, added_at, changed_at, agent, token, shape,
    leaves, not_before, expires_at
