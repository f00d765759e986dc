-- failed | cancelled → pending, with one more attempt; not where nobody could take it any more.
UPDATE items SET state = 'pending', max_attempts = greatest(max_attempts, attempt + 1), actor = %(actor)s, reason = 'retried',
    stage = NULL, exit_code = NULL, result = NULL, finished_at = NULL, expires_at = NULL, changed_at = %(now)s
WHERE state IN ('failed', 'cancelled') AND queue IN (SELECT name FROM queues WHERE deleted_at IS NULL) AND {where}
