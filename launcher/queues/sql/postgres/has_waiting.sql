-- Whether something may be taken now, whether some of it asks for CPUs, memory, GPUs or limits, whether waiting items are
-- due for a change, and whether one of the queues has a limit.
SELECT EXISTS (
    SELECT 1 FROM queues
    WHERE name IN (SELECT jsonb_array_elements_text(%(queues)s::jsonb)) AND NOT paused AND deleted_at IS NULL
        AND coalesce(
            -- the first one, if there is one: of an EXISTS the planner may think that all are better read at once
            (SELECT true FROM items
            WHERE items.queue = queues.name AND state = 'pending' AND hold IS NULL AND needs IS NULL LIMIT 1),
            (SELECT true FROM items
            WHERE items.queue = queues.name AND state = 'pending' AND hold IS NULL AND needs IS NOT NULL LIMIT 1),
            false
        )
        AND (max_running IS NULL OR max_running > (
            SELECT count(*) FROM items AS busy WHERE busy.queue = queues.name AND busy.state IN ('leased', 'running')
        ))
) AS waiting,
EXISTS (
    SELECT 1 FROM items WHERE state = 'pending' AND hold IS NULL AND needs IS NOT NULL
        AND queue IN (SELECT jsonb_array_elements_text(%(queues)s::jsonb))
) AS sized,
EXISTS (SELECT 1 FROM items WHERE state = 'pending' AND hold = 'backoff' AND not_before <= %(now)s)
OR EXISTS (SELECT 1 FROM items WHERE state = 'pending' AND expires_at IS NOT NULL AND expires_at <= %(now)s) AS due,
EXISTS (SELECT 1 FROM queues WHERE max_running IS NOT NULL AND name IN (SELECT jsonb_array_elements_text(%(queues)s::jsonb))) AS limited
