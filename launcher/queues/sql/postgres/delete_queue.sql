UPDATE queues SET deleted_at = %(now)s
WHERE name = %(name)s AND deleted_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM items WHERE queue = %(name)s AND state IN ('pending', 'leased', 'running')
)
