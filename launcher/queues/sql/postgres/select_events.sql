SELECT at, before, after, attempt, actor, reason FROM events
WHERE item = (SELECT seq FROM items WHERE id = %(id)s) ORDER BY seq
