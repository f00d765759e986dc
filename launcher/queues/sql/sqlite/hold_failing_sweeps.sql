-- The rest of a sweep in which something just failed waits, once as many of its items have failed as it allows. What
-- was resumed goes on, whatever fails elsewhere.
UPDATE items SET hold = 'failures', not_before = NULL
WHERE state = 'pending' AND (hold IS NULL OR hold = 'backoff') AND sweep IN (
    SELECT name FROM sweeps
    WHERE name IN (SELECT value FROM json_each(:sweeps)) AND stop_after_failures <= (
        SELECT sum(number) FROM counts WHERE counts.sweep = sweeps.name AND counts.state = 'failed'
    )
)
