-- A queue of that name that was deleted makes room for the new one.
INSERT INTO queues (
    name, entity, resource, prioritization, paused, resource_args, variables, max_running, allow_overrides, links,
    description, retry, timeout, created_at
)
VALUES (
    :name, :entity, :resource, :prioritization, :paused, :resource_args, :variables, :max_running, :allow_overrides,
    :links, :description, :retry, :timeout, :now
)
ON CONFLICT (name) DO UPDATE SET entity = excluded.entity, resource = excluded.resource,
    prioritization = excluded.prioritization, paused = excluded.paused, resource_args = excluded.resource_args,
    variables = excluded.variables, max_running = excluded.max_running, allow_overrides = excluded.allow_overrides,
    links = excluded.links, description = excluded.description, retry = excluded.retry,
    timeout = excluded.timeout, created_at = excluded.created_at, deleted_at = NULL
WHERE deleted_at IS NOT NULL
