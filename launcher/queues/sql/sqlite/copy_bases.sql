INSERT INTO bases (id, document)
SELECT :offset + number, document FROM staged_bases
WHERE number IN (SELECT base FROM staged_items)
