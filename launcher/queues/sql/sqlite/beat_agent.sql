UPDATE agents SET seen_at = :now, beats = beats + 1, state = 'alive' WHERE id = :agent
