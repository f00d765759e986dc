DELETE FROM bases WHERE id < (SELECT max(id) FROM bases) AND NOT EXISTS (SELECT 1 FROM shapes WHERE base = bases.id)
