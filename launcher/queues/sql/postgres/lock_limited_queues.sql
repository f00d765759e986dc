-- Agents take from a queue with a limit one after another, so that they do not exceed it together.
SELECT name FROM queues
WHERE max_running IS NOT NULL AND name IN (SELECT jsonb_array_elements_text(%(queues)s::jsonb))
ORDER BY name FOR NO KEY UPDATE
