INSERT INTO shapes (id, base, changed, gone) VALUES (?, ?, ?, ?)
