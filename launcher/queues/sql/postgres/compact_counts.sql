WITH gone AS (
    DELETE FROM counts WHERE ctid = ANY (ARRAY(SELECT ctid FROM counts LIMIT 100000 FOR UPDATE SKIP LOCKED))
    RETURNING sweep, queue, state, number
)
INSERT INTO counts (sweep, queue, state, number)
SELECT sweep, queue, state, sum(number) FROM gone GROUP BY sweep, queue, state HAVING sum(number) <> 0
