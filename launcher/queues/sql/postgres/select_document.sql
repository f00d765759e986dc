SELECT shape, leaves FROM items WHERE id = %(id)s
