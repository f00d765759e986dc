sweep = %(sweep)s
