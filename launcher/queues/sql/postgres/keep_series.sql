-- The series of an item's last attempt.
INSERT INTO series (item, points) SELECT seq, %(points)s FROM items WHERE id = %(id)s
ON CONFLICT (item) DO UPDATE SET points = excluded.points
