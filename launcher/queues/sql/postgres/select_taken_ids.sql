-- IDs that an item has already, or that come twice in this push.
SELECT seq, id, given FROM staged_items WHERE id IN (SELECT id FROM identities)
UNION
SELECT seq, id, given FROM staged_items
WHERE id IN (SELECT id FROM staged_items GROUP BY id HAVING count(*) > 1)
ORDER BY given DESC, seq
