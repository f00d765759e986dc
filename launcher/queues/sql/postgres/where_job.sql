jobs.name = %(name)s
