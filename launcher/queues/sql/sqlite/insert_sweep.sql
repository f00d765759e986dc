INSERT INTO sweeps (name, metric, goal, created_at, stop_after_failures)
VALUES (:name, :metric, :goal, :created_at, :stop_after_failures)
ON CONFLICT (name) DO UPDATE SET
    metric = coalesce(excluded.metric, metric), goal = CASE WHEN excluded.metric IS NULL THEN goal ELSE excluded.goal END,
    stop_after_failures = coalesce(excluded.stop_after_failures, stop_after_failures)
