SELECT attempt, state, agent, run_dir, started_at, finished_at, exit_code, stage, reason FROM attempts
WHERE item = (SELECT identities.item FROM identities WHERE id = %(id)s) ORDER BY attempt
