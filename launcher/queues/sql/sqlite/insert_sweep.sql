INSERT INTO sweeps (name, metric, goal, created_at) VALUES (:name, :metric, :goal, :created_at)
ON CONFLICT (name) DO UPDATE SET metric = excluded.metric, goal = excluded.goal WHERE excluded.metric IS NOT NULL
