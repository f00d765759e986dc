-- pending → leased: the first items of each queue by priority, then age, as far as its limit has room; of those, the
-- first over all queues. What another agent is taking at this moment is passed over.
UPDATE items
SET state = 'leased', agent = %(agent)s, actor = %(agent)s, reason = NULL,
    token = replace(gen_random_uuid()::text, '-', ''), attempt = attempt + 1, changed_at = %(now)s,
    stop_requested = false, started_at = NULL, finished_at = NULL, run_dir = NULL, handle = NULL, exit_code = NULL,
    stage = NULL, result = NULL
WHERE state = 'pending' AND hold IS NULL AND seq = ANY (ARRAY(
    SELECT waiting.seq
    FROM (
        SELECT name, CASE WHEN max_running IS NULL THEN %(limit)s ELSE greatest(0, max_running - (
            SELECT count(*) FROM items AS busy WHERE busy.queue = queues.name AND busy.state IN ('leased', 'running')
        )) END AS room
        FROM queues
        WHERE name IN (SELECT jsonb_array_elements_text(%(queues)s::jsonb)) AND NOT paused
    ) AS wanted
    CROSS JOIN LATERAL (
        SELECT first.seq, first.priority FROM items AS first
        WHERE first.queue = wanted.name AND state = 'pending' AND hold IS NULL AND needs IS NULL
        ORDER BY first.priority, first.seq LIMIT least(%(limit)s, wanted.room) FOR UPDATE SKIP LOCKED
    ) AS waiting
    ORDER BY waiting.priority, waiting.seq LIMIT %(limit)s
))
RETURNING seq, id, queue, sweep, priority, name, point, attempt, max_attempts, added_at, changed_at, agent, token, shape,
    leaves, not_before, expires_at
