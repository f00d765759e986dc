SELECT EXISTS (
    SELECT 1 FROM json_each(:queues) AS wanted
    CROSS JOIN queues ON queues.name = wanted.value AND NOT queues.paused
    CROSS JOIN items ON items.queue = queues.name AND items.state = 'pending'
)
