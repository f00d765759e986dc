SELECT sweep, target, event, counts, tries, state, error
FROM notices WHERE sweep = %(sweep)s ORDER BY due_at, event
