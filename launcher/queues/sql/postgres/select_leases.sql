SELECT seq, id, queue, sweep, state, priority, name, point, attempt, max_attempts, added_at, changed_at, started_at,
    finished_at, agent, run_dir, handle, exit_code, stage, reason, result, stop_requested, hold, not_before, expires_at, token, shape, leaves
FROM items WHERE {where} ORDER BY priority, seq
