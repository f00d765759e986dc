-- The rest of a sweep waits once as many of its items have failed as it allows.
UPDATE items SET hold = 'failures', not_before = NULL
WHERE state = 'pending' AND (hold IS NULL OR hold = 'backoff') AND sweep IN (
    SELECT name FROM sweeps WHERE stop_after_failures <= (
        SELECT sum(number) FROM counts WHERE counts.sweep = sweeps.name AND counts.state = 'failed'
    )
)
