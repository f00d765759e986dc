INSERT INTO sweeps (name, metric, goal, created_at, stop_after_failures, notify)
VALUES (:name, :metric, :goal, :created_at, :stop_after_failures, :notify)
ON CONFLICT (name) DO UPDATE SET
    metric = coalesce(excluded.metric, metric), goal = CASE WHEN excluded.metric IS NULL THEN goal ELSE excluded.goal END,
    stop_after_failures = coalesce(excluded.stop_after_failures, stop_after_failures),
    notify = coalesce(excluded.notify, notify)
