SELECT shape, leaves FROM items WHERE seq = (SELECT item FROM identities WHERE id = %(id)s)
