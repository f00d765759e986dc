INSERT INTO agents (id, host, pid, process_started, queues, max_jobs, started_at, seen_at, state, beats, room,
    detached)
VALUES (%(id)s, %(host)s, %(pid)s, %(process_started)s, %(queues)s, %(max_jobs)s, %(started_at)s, %(seen_at)s, 'alive', %(beats)s, %(room)s,
    %(detached)s)
ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, process_started = excluded.process_started,
    queues = excluded.queues, max_jobs = excluded.max_jobs, started_at = excluded.started_at,
    seen_at = excluded.seen_at, state = 'alive', beats = agents.beats + 1, room = excluded.room, detached = excluded.detached
