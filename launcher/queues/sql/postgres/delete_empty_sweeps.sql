DELETE FROM sweeps
WHERE name = ANY (ARRAY(SELECT jsonb_array_elements_text(%(names)s::jsonb)))
    AND NOT EXISTS (SELECT 1 FROM items WHERE items.sweep = sweeps.name)
    AND NOT EXISTS (SELECT 1 FROM notices WHERE notices.sweep = sweeps.name)
