point::jsonb @> %(points)s::jsonb
