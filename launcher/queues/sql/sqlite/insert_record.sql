INSERT INTO records (kind, key, revision, value, changed_at) VALUES (:kind, :key, 1, :value, :now)
ON CONFLICT DO NOTHING
