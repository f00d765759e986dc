SELECT id FROM identities WHERE id >= %(prefix)s AND id < %(prefix)s || '~' ORDER BY id LIMIT 5
