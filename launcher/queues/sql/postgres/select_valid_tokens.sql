SELECT token FROM items
WHERE state IN ('leased', 'running') AND agent IS NOT NULL AND token IN (SELECT jsonb_array_elements_text(%(tokens)s::jsonb))
