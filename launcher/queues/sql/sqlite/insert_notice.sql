-- Who comes second changes nothing: what is told once has one row.
INSERT INTO notices (sweep, target, event, counts, state, due_at)
VALUES (:sweep, :target, :event, :counts, 'due', :now)
ON CONFLICT (sweep, target, event) DO NOTHING
