INSERT INTO agents (id, host, pid, process_started, queues, max_jobs, started_at, seen_at, state)
VALUES (:id, :host, :pid, :process_started, :queues, :max_jobs, :started_at, :seen_at, 'alive')
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, state = 'alive'
