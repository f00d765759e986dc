UPDATE queues SET entity = :entity, resource = :resource, prioritization = :prioritization,
    resource_args = :resource_args, variables = :variables, max_running = :max_running,
    allow_overrides = :allow_overrides, links = :links, description = :description,
    retry = :retry, timeout = :timeout
WHERE name = :name AND deleted_at IS NULL
