SELECT items.id, items.shape, shapes.base FROM items
LEFT JOIN shapes ON shapes.id = items.shape LEFT JOIN bases ON bases.id = shapes.base
WHERE bases.id IS NULL ORDER BY items.seq LIMIT :page
