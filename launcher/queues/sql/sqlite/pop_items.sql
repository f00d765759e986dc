-- pending → leased: the first items of each queue by priority, then age; of those, the first over all queues.
UPDATE items
SET state = 'leased', agent = :agent, actor = :agent, reason = NULL, token = lower(hex(randomblob(8))),
    attempt = attempt + 1, changed_at = :now, stop_requested = 0, started_at = NULL, finished_at = NULL,
    run_dir = NULL, handle = NULL, exit_code = NULL, stage = NULL, result = NULL
WHERE state = 'pending' AND seq IN (
    SELECT waiting.seq
    FROM json_each(:queues) AS wanted
    CROSS JOIN queues ON queues.name = wanted.value AND NOT queues.paused
    CROSS JOIN items AS waiting ON waiting.seq IN (
        SELECT first.seq FROM items AS first
        WHERE first.state = 'pending' AND first.queue = queues.name
        ORDER BY first.priority, first.seq LIMIT :limit
    )
    ORDER BY waiting.priority, waiting.seq LIMIT :limit
)
RETURNING seq
