-- Each change of state adds rows here and none is updated, so that agents never wait for one another; they are summed up.
SELECT queue, nullif(sweep, '') AS sweep, state, sum(number) AS number FROM counts
GROUP BY queue, sweep, state HAVING sum(number) > 0
