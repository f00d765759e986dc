-- The rest of a stopped sweep in which something just failed waits. What was resumed goes on, whatever fails elsewhere.
UPDATE items SET hold = 'failures', not_before = NULL
WHERE state = 'pending' AND (hold IS NULL OR hold = 'backoff')
    AND sweep IN (SELECT value FROM json_each(:sweeps)) AND sweep IN (SELECT sweep FROM stopped_sweeps)
