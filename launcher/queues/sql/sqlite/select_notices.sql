SELECT sweep, target, event, counts, tries, state, error
FROM notices WHERE sweep = :sweep ORDER BY due_at, event
