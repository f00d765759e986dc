-- Whether something may be taken now, whether some of it asks for CPUs, memory, GPUs or limits, and whether waiting items
-- are due for a change.
SELECT EXISTS (
    SELECT 1 FROM json_each(:queues) AS wanted
    CROSS JOIN queues ON queues.name = wanted.value AND NOT queues.paused
    WHERE (
        EXISTS (
            SELECT 1 FROM items
            WHERE items.queue = queues.name AND state = 'pending' AND hold IS NULL AND needs IS NULL
        )
        OR EXISTS (
            SELECT 1 FROM items
            WHERE items.queue = queues.name AND state = 'pending' AND hold IS NULL AND needs IS NOT NULL
        )
    )
    AND (queues.max_running IS NULL OR queues.max_running > (
        SELECT count(*) FROM items AS busy WHERE busy.queue = queues.name AND busy.state IN ('leased', 'running')
    ))
) AS waiting,
EXISTS (
    SELECT 1 FROM json_each(:queues) AS wanted
    CROSS JOIN items ON items.queue = wanted.value
    WHERE items.state = 'pending' AND items.hold IS NULL AND items.needs IS NOT NULL
) AS sized,
EXISTS (SELECT 1 FROM items WHERE state = 'pending' AND hold = 'backoff' AND not_before <= :now)
OR EXISTS (SELECT 1 FROM items WHERE state = 'pending' AND expires_at IS NOT NULL AND expires_at <= :now) AS due
