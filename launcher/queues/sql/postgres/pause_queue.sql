UPDATE queues SET paused = %(paused)s WHERE name = %(name)s AND deleted_at IS NULL
