-- The series of an item's last attempt.
INSERT INTO series (item, points) SELECT identities.item, %(points)s FROM identities WHERE id = %(id)s
ON CONFLICT (item) DO UPDATE SET points = excluded.points
