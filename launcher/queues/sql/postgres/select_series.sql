SELECT items.id, series.points FROM items JOIN series ON series.item = items.seq
WHERE items.id IN (SELECT jsonb_array_elements_text(%(ids)s::jsonb))
