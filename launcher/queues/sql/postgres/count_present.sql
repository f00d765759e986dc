-- How many of the gathered specs the sweep has already, by state; of several items with one spec, the newest that has not
-- failed counts.
SELECT state, count(*) AS number FROM (
    SELECT DISTINCT ON (brought.seq) had.state
    FROM staged_items AS brought
    JOIN identities AS known ON known.sweep = %(sweep)s AND known.fingerprint = brought.fingerprint
    JOIN items AS had ON had.seq = known.item
    ORDER BY brought.seq, had.state = 'failed', had.seq DESC
) AS newest GROUP BY state
