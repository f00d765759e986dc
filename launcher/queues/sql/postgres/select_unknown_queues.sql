-- The known ones are locked until this push is over, so that none is deleted meanwhile; who changes or pauses one, or takes
-- from it in turns, need not wait.
WITH asked AS (SELECT jsonb_array_elements_text(%(queues)s::jsonb) AS queue),
known AS (
    SELECT name FROM queues
    WHERE deleted_at IS NULL AND name IN (SELECT queue FROM asked) ORDER BY name FOR KEY SHARE
)
SELECT queue FROM asked WHERE queue NOT IN (SELECT name FROM known) ORDER BY queue
