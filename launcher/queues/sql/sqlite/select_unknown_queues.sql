SELECT DISTINCT queue FROM staged_items
WHERE queue NOT IN (SELECT name FROM queues WHERE deleted_at IS NULL) ORDER BY queue
