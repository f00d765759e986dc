INSERT INTO shapes (id, base, changed, gone) VALUES (%s, %s, %s, %s)
