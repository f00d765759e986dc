-- The same code, and where else it is by now.
UPDATE jobs SET source = %(source)s WHERE name = %(name)s AND digest = %(digest)s
