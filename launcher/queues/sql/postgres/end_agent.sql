-- Only an agent that is alive, and not heard of since (`beats`, where given), can be declared lost, or leave.
UPDATE agents SET state = %(state)s WHERE id = %(agent)s AND state = 'alive' AND (%(beats)s::bigint IS NULL OR beats = %(beats)s)
