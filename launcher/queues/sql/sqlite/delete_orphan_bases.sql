DELETE FROM bases WHERE id < (SELECT max(id) FROM bases) AND id NOT IN (SELECT base FROM shapes)
