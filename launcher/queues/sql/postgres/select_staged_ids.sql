SELECT id FROM staged_items ORDER BY seq LIMIT 100
