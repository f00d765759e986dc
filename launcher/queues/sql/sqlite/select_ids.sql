SELECT id FROM items WHERE id >= :prefix AND id < :prefix || '~' ORDER BY id LIMIT 5
