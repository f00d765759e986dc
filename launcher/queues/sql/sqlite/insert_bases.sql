INSERT INTO bases (id, document) VALUES (?, ?)
