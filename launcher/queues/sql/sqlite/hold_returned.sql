-- What came back into the queue of a stopped sweep waits with the others.
UPDATE items SET hold = 'failures', not_before = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'pending' AND (hold IS NULL OR hold = 'backoff')
    AND sweep IN (SELECT sweep FROM stopped_sweeps)
