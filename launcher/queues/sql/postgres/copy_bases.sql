INSERT INTO bases (id, document)
SELECT %(first_base)s + number, document FROM staged_bases
WHERE number IN (SELECT base FROM staged_shapes WHERE number IN (SELECT shape FROM staged_items))
