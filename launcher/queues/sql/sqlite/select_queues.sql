SELECT name, entity, resource, prioritization, paused, resource_args, created_at FROM queues ORDER BY name
