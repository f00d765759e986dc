UPDATE notices SET state = %(state)s, error = %(error)s, due_at = %(due_at)s
WHERE sweep = %(sweep)s AND target = %(target)s AND event = %(event)s
    AND state = 'sending' AND agent = %(agent)s AND tries = %(tries)s
