DELETE FROM shapes WHERE id IN (SELECT jsonb_array_elements_text(%(ids)s::jsonb)::bigint)
