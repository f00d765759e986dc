SELECT name, entity, resource, prioritization, paused, resource_args, variables, max_running, allow_overrides, links,
    description, created_at, retry, timeout
FROM queues WHERE deleted_at IS NULL ORDER BY name
