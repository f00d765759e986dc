-- pending → leased: the first items of each queue by priority, then age, as far as its limit has room; of those, the
-- first over all queues.
UPDATE items
SET state = 'leased', agent = :agent, actor = :agent, reason = NULL, token = lower(hex(randomblob(8))),
    attempt = attempt + 1, changed_at = :now, stop_requested = 0, started_at = NULL, finished_at = NULL,
    run_dir = NULL, handle = NULL, exit_code = NULL, stage = NULL, result = NULL
WHERE state = 'pending' AND hold IS NULL AND seq IN (
    SELECT waiting.seq
    FROM json_each(:queues) AS wanted
    CROSS JOIN queues ON queues.name = wanted.value AND NOT queues.paused
    CROSS JOIN items AS waiting ON waiting.seq IN (
        SELECT seq FROM (
            SELECT first.seq, row_number() OVER (ORDER BY first.priority, first.seq) AS place FROM items AS first
            WHERE first.queue = queues.name AND state = 'pending' AND hold IS NULL AND needs IS NULL
            ORDER BY first.priority, first.seq LIMIT :limit
        ) WHERE queues.max_running IS NULL OR place <= queues.max_running - (
            SELECT count(*) FROM items AS busy WHERE busy.queue = queues.name AND busy.state IN ('leased', 'running')
        )
    )
    ORDER BY waiting.priority, waiting.seq LIMIT :limit
)
RETURNING seq, id, queue, sweep, priority, name, point, attempt, max_attempts, added_at, changed_at, agent, token, shape,
    leaves, not_before, expires_at
