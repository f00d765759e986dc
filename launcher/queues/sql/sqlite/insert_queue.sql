INSERT INTO queues (name, entity, resource, prioritization, paused, resource_args, created_at)
VALUES (:name, :entity, :resource, :prioritization, :paused, :resource_args, :created_at)
