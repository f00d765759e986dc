SELECT value AS queue FROM json_each(:queues)
WHERE value NOT IN (SELECT name FROM queues WHERE deleted_at IS NULL) ORDER BY queue
