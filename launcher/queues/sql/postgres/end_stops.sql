-- A sweep of which nothing is held for its failures any more goes on; of all, or of one that is named.
DELETE FROM stopped_sweeps
WHERE (%(sweep)s::text IS NULL OR sweep = %(sweep)s) AND NOT EXISTS (
    SELECT 1 FROM items WHERE items.sweep = stopped_sweeps.sweep AND state = 'pending' AND hold = 'failures'
)
