SELECT queue, sweep, state, sum(kept) AS kept, sum(found) AS found FROM (
    SELECT queue, sweep, state, number AS kept, 0 AS found FROM counts
    UNION ALL
    SELECT queue, coalesce(sweep, ''), state, 0, count(*) FROM items GROUP BY queue, sweep, state
) AS numbers
GROUP BY queue, sweep, state HAVING sum(kept) <> sum(found) ORDER BY queue, sweep, state
