INSERT INTO bases (id, document) VALUES (%s, %s)
