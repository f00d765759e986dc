UPDATE agents SET seen_at = :now, state = 'alive' WHERE id = :agent
