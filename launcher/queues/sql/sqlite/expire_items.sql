-- pending → failed: what has waited for longer than its timeout allows.
UPDATE items SET state = 'failed', stage = 'timeout', reason = 'waited in its queue for too long', actor = NULL,
    hold = NULL, not_before = NULL, started_at = NULL, finished_at = :now, changed_at = :now
WHERE state = 'pending' AND expires_at IS NOT NULL AND expires_at <= :now
RETURNING sweep
