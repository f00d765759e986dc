INSERT INTO sweeps (name, metric, goal, created_at, stop_after_failures, notify)
VALUES (%(name)s, %(metric)s, %(goal)s, %(created_at)s, %(stop_after_failures)s, %(notify)s)
ON CONFLICT (name) DO UPDATE SET
    metric = coalesce(excluded.metric, sweeps.metric), goal = CASE WHEN excluded.metric IS NULL THEN sweeps.goal ELSE excluded.goal END,
    stop_after_failures = coalesce(excluded.stop_after_failures, sweeps.stop_after_failures),
    notify = coalesce(excluded.notify, sweeps.notify)
