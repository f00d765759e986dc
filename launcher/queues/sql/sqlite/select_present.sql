-- Which of these specs (by their places) the sweep has already, and in which state; of several items with one spec, the
-- newest that has not failed counts.
SELECT place, state FROM (
    SELECT key AS place, (
        SELECT state FROM items WHERE sweep = :sweep AND fingerprint = value ORDER BY state = 'failed', seq DESC LIMIT 1
    ) AS state FROM json_each(:fingerprints)
) WHERE state IS NOT NULL
