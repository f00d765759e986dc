-- leased | running → what the outcome says. An item that shall be tried again is cancelled if that was asked for.
UPDATE items
SET state = CASE WHEN NOT %(again)s THEN %(state)s WHEN stop_requested THEN 'cancelled' ELSE 'pending' END,
    hold = CASE WHEN %(again)s AND NOT stop_requested AND %(not_before)s::double precision IS NOT NULL THEN 'backoff' END,
    not_before = CASE WHEN %(again)s AND NOT stop_requested THEN %(not_before)s::double precision END,
    max_attempts = max_attempts + %(grant)s, token = NULL, agent = NULL, actor = agent, stop_requested = false,
    exit_code = %(exit_code)s, stage = %(stage)s, reason = %(reason)s, result = %(result)s, finished_at = %(now)s, changed_at = %(now)s
WHERE token = %(token)s AND id = %(id)s AND state IN ('leased', 'running')
