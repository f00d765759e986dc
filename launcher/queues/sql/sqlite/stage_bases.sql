INSERT INTO staged_bases (number, document) VALUES (?, ?)
