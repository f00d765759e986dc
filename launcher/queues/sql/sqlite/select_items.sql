SELECT seq, id, queue, sweep, state, priority, name, point, attempt, max_attempts, added_at, changed_at, started_at,
    finished_at, agent, run_dir, handle, exit_code, stage, reason, result, stop_requested, hold, not_before, expires_at
FROM items WHERE {where} AND seq > :after ORDER BY seq LIMIT :page
