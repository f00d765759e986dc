SELECT seq, id, sweep, queue, state, point, result, attempt, added_at, started_at, finished_at,
    CASE WHEN state IN ('leased', 'running') THEN agent ELSE actor END AS agent, run_dir, exit_code, stage, reason,
    name
FROM items WHERE {where} ORDER BY changed_at DESC, seq DESC LIMIT %(page)s
