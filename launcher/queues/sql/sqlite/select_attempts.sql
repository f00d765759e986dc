SELECT attempt, state, agent, run_dir, started_at, finished_at, exit_code, stage, reason FROM attempts
WHERE item = (SELECT seq FROM items WHERE id = :id) ORDER BY attempt
