INSERT INTO shapes (id, base, changed, gone)
SELECT :first_shape + number, :first_base + base, changed, gone FROM staged_shapes
WHERE number IN (SELECT shape FROM staged_items)
