INSERT INTO staged_shapes (number, base, changed, gone) VALUES (?, ?, ?, ?)
