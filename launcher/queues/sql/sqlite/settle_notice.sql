UPDATE notices SET state = :state, error = :error, due_at = :due_at
WHERE sweep = :sweep AND target = :target AND event = :event
    AND state = 'sending' AND agent = :agent AND tries = :tries
