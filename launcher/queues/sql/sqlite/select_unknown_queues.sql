SELECT DISTINCT queue FROM staged_items WHERE queue NOT IN (SELECT name FROM queues) ORDER BY queue
