SELECT EXISTS (SELECT 1 FROM identities WHERE sweep = %(sweep)s) AS begun
