-- pending → cancelled
UPDATE items SET state = 'cancelled', actor = :actor, reason = 'cancelled while waiting', stage = NULL,
    finished_at = :now, changed_at = :now
WHERE state = 'pending' AND {where}
