SELECT number FROM jobs WHERE name = %(name)s AND digest = %(digest)s
