INSERT INTO shapes (id, base, changed, gone)
SELECT %(first_shape)s + number, %(first_base)s + base, changed, gone FROM staged_shapes
WHERE number IN (SELECT shape FROM staged_items)
