DELETE FROM notices
WHERE sweep = ANY (ARRAY(SELECT jsonb_array_elements_text(%(names)s::jsonb))) AND state IN ('sent', 'failed')
    AND NOT EXISTS (SELECT 1 FROM items WHERE items.sweep = notices.sweep)
