INSERT INTO records (kind, key, revision, value, changed_at) VALUES (%(kind)s, %(key)s, 1, %(value)s, %(now)s)
ON CONFLICT DO NOTHING
