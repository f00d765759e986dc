SELECT identities.id, series.points FROM identities JOIN series USING (item)
WHERE identities.id = ANY (ARRAY(SELECT jsonb_array_elements_text(%(ids)s::jsonb)))
