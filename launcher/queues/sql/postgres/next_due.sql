-- When the next item of these queues ends its backoff.
SELECT min(not_before) AS due FROM items
WHERE state = 'pending' AND hold = 'backoff' AND queue IN (SELECT jsonb_array_elements_text(%(queues)s::jsonb))
