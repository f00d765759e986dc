queue = %(queue)s
