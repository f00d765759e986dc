-- pending → failed: what asks for more than any agent of its queue has in all.
UPDATE items SET state = 'failed', stage = 'prepare', reason = :reason, actor = NULL, started_at = NULL,
    finished_at = :now, changed_at = :now
WHERE state = 'pending' AND hold IS NULL AND queue = :queue AND changed_at <= :now - :seconds AND needs IN (
    SELECT id FROM needs WHERE NOT EXISTS (
        SELECT 1 FROM json_each(:rooms) AS room
        WHERE asked ->> 'cpus' <= room.value ->> 'cpus' AND asked ->> 'memory' <= room.value ->> 'memory'
            AND asked ->> 'gpus' <= room.value ->> 'gpus'
    )
)
