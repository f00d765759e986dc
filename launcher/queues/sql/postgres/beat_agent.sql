UPDATE agents SET seen_at = %(now)s, beats = beats + 1, state = 'alive' WHERE id = %(agent)s
