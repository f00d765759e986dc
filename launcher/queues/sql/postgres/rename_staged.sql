UPDATE staged_items SET id = %(id)s WHERE seq = %(seq)s
