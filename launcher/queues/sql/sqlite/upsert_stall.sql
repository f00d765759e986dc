INSERT INTO stalls (queue, needs, agent, cause, since, until)
VALUES (:queue, :needs, :agent, :cause, :since, :until)
ON CONFLICT (queue, needs, agent, cause, since) DO UPDATE SET until = excluded.until
