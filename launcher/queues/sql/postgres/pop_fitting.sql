-- pending → leased: the first item, by priority, then age, that the agent could hold at all and whose limits have places,
-- if it fits into what is free; else none, so that big items are not passed by smaller ones for ever. Agents that look
-- for such items take turns (lock_limits).
WITH classes AS (
    SELECT id, (asked::jsonb ->> 'cpus')::double precision AS cpus,
        (asked::jsonb ->> 'memory')::double precision AS memory, (asked::jsonb ->> 'gpus')::double precision AS gpus,
        asked::jsonb -> 'limits' AS limits
    FROM needs
),
open_queues AS (
    SELECT name FROM queues
    WHERE name IN (SELECT jsonb_array_elements_text(%(queues)s::jsonb)) AND NOT paused
        AND (max_running IS NULL OR max_running > (
            SELECT count(*) FROM items AS busy WHERE busy.queue = queues.name AND busy.state IN ('leased', 'running')
        ))
),
possible AS (
    SELECT id FROM classes
    WHERE cpus <= %(cpus)s AND memory <= %(memory)s AND gpus <= %(gpus)s
        AND NOT EXISTS (
            SELECT 1 FROM jsonb_each_text(classes.limits) AS place
            WHERE place.value::bigint <= (
                SELECT count(*) FROM items AS busy JOIN classes AS used ON used.id = busy.needs
                WHERE busy.state IN ('leased', 'running') AND busy.needs IS NOT NULL
                    AND jsonb_exists(used.limits, place.key)
            )
        )
),
firsts AS (
    SELECT plain.seq, plain.priority FROM open_queues CROSS JOIN LATERAL (
        SELECT seq, priority FROM items
        WHERE items.queue = open_queues.name AND state = 'pending' AND hold IS NULL AND needs IS NULL
        ORDER BY priority, seq LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS plain
    UNION ALL
    SELECT sized.seq, sized.priority FROM open_queues CROSS JOIN possible CROSS JOIN LATERAL (
        SELECT seq, priority FROM items
        WHERE items.queue = open_queues.name AND needs = possible.id AND state = 'pending' AND hold IS NULL
        ORDER BY priority, seq LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS sized
)
UPDATE items
SET state = 'leased', agent = %(agent)s, actor = %(agent)s, reason = NULL,
    token = replace(gen_random_uuid()::text, '-', ''), attempt = attempt + 1, changed_at = %(now)s,
    stop_requested = false, started_at = NULL, finished_at = NULL, run_dir = NULL, handle = NULL, exit_code = NULL,
    stage = NULL, result = NULL
WHERE state = 'pending' AND hold IS NULL AND seq = (SELECT seq FROM firsts ORDER BY priority, seq LIMIT 1)
    AND (needs IS NULL OR needs IN (
        SELECT id FROM classes
        WHERE cpus <= %(free_cpus)s AND memory <= %(free_memory)s
            AND gpus <= CASE WHEN gpus < 1 THEN %(free_part)s ELSE %(free_gpus)s END
    ))
RETURNING seq, id, queue, sweep, priority, name, point, attempt, max_attempts, added_at, changed_at, agent, token, shape,
    leaves, not_before, expires_at
