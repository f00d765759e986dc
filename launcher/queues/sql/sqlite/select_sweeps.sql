SELECT name, metric, goal, created_at FROM sweeps ORDER BY created_at, name
