-- How many of the gathered specs the sweep has already, by state; of several items with one spec, the newest that has not
-- failed counts.
SELECT state, count(*) AS number FROM (
    SELECT (
        SELECT state FROM items WHERE items.sweep = :sweep AND items.fingerprint = staged_items.fingerprint
        ORDER BY state = 'failed', seq DESC LIMIT 1
    ) AS state FROM staged_items
) AS brought WHERE state IS NOT NULL GROUP BY state
