-- What came back into the queue of a stopped sweep waits with the others.
UPDATE items SET hold = 'failures', not_before = NULL
WHERE seq IN (SELECT item FROM identities WHERE id IN (SELECT jsonb_array_elements_text(%(ids)s::jsonb)))
    AND state = 'pending' AND (hold IS NULL OR hold = 'backoff') AND sweep IN (SELECT sweep FROM stopped_sweeps)
