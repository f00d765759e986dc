UPDATE queues SET entity = %(entity)s, resource = %(resource)s, prioritization = %(prioritization)s,
    resource_args = %(resource_args)s, variables = %(variables)s, max_running = %(max_running)s,
    allow_overrides = %(allow_overrides)s, links = %(links)s, description = %(description)s,
    retry = %(retry)s, timeout = %(timeout)s
WHERE name = %(name)s AND deleted_at IS NULL
