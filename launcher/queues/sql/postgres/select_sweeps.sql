SELECT name, metric, goal, created_at, stop_after_failures, notify FROM sweeps ORDER BY created_at, name
