-- Who comes second changes nothing: what is told once has one row.
INSERT INTO notices (sweep, target, event, counts, state, due_at)
VALUES (%(sweep)s, %(target)s, %(event)s, %(counts)s, 'due', %(now)s)
ON CONFLICT (sweep, target, event) DO NOTHING
