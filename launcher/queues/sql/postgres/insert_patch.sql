INSERT INTO patches (digest, content) VALUES (%(digest)s, %(content)s) ON CONFLICT DO NOTHING
