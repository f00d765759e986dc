-- Only an agent that is alive, and not heard of since (`beats`, where given), can be declared lost, or leave.
UPDATE agents SET state = %(state)s, seen_at = CASE %(state)s WHEN 'left' THEN %(now)s ELSE seen_at END
WHERE id = %(agent)s AND state = 'alive' AND (%(beats)s::bigint IS NULL OR beats = %(beats)s)
