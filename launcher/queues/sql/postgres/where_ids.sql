items.seq = ANY (ARRAY(
    SELECT item FROM identities WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text(%(ids)s::jsonb)))
))
