-- pending → cancelled; it did not run, so its last run's start, if it had one, must not count as this end's.
UPDATE items SET state = 'cancelled', actor = %(actor)s, reason = 'cancelled while waiting', stage = NULL,
    hold = NULL, not_before = NULL, started_at = NULL, finished_at = %(now)s, changed_at = %(now)s
WHERE state = 'pending' AND {where}
