state IN (SELECT jsonb_array_elements_text(%(states)s::jsonb))
