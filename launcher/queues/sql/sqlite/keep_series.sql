-- The series of an item's last attempt.
INSERT INTO series (item, points) SELECT seq, :points FROM items WHERE id = :id
ON CONFLICT (item) DO UPDATE SET points = excluded.points
