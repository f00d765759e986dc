UPDATE queues SET paused = :paused WHERE name = :name AND deleted_at IS NULL
