SELECT id, host, pid, process_started, queues, max_jobs, started_at, seen_at, state, beats, room, detached
FROM agents WHERE state = 'alive' ORDER BY started_at
