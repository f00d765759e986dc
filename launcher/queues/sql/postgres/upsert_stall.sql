INSERT INTO stalls (queue, needs, agent, cause, since, until)
VALUES (%(queue)s, %(needs)s, %(agent)s, %(cause)s, %(since)s, %(until)s)
ON CONFLICT (queue, needs, agent, cause, since) DO UPDATE SET until = excluded.until
