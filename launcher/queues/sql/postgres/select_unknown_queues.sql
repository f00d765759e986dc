-- The known ones are locked until this push is over, so that none is deleted meanwhile.
WITH known AS (
    SELECT name FROM queues
    WHERE deleted_at IS NULL AND name IN (SELECT queue FROM staged_items) ORDER BY name FOR SHARE
)
SELECT DISTINCT queue FROM staged_items WHERE queue NOT IN (SELECT name FROM known) ORDER BY queue
