UPDATE queues SET deleted_at = :now
WHERE name = :name AND deleted_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM items WHERE queue = :name AND state IN ('pending', 'leased', 'running')
)
