SELECT name, number, digest, kind, source, entry_point, inputs, author, created_at, coalesce((
    SELECT json_group_array(alias) FROM job_aliases
    WHERE job_aliases.name = jobs.name AND job_aliases.number = jobs.number
), '[]') AS aliases
FROM jobs WHERE {where} ORDER BY name, number
