-- pending → failed: what asks for more than any agent of its queue has in all.
UPDATE items SET state = 'failed', stage = 'prepare', reason = %(reason)s, actor = NULL, started_at = NULL,
    finished_at = %(now)s, changed_at = %(now)s
WHERE state = 'pending' AND hold IS NULL AND queue = %(queue)s AND changed_at <= %(now)s - %(seconds)s AND needs IN (
    SELECT id FROM needs WHERE NOT EXISTS (
        SELECT 1 FROM jsonb_to_recordset(%(rooms)s::jsonb) AS room (
            cpus DOUBLE PRECISION, memory DOUBLE PRECISION, gpus DOUBLE PRECISION
        )
        WHERE (asked::jsonb ->> 'cpus')::double precision <= room.cpus
            AND (asked::jsonb ->> 'memory')::double precision <= room.memory
            AND (asked::jsonb ->> 'gpus')::double precision <= room.gpus
    )
)
