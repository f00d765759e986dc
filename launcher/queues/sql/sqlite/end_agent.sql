-- Only an agent that is alive, and not heard of since (`beats`, where given), can be declared lost, or leave.
UPDATE agents SET state = :state, seen_at = CASE :state WHEN 'left' THEN :now ELSE seen_at END
WHERE id = :agent AND state = 'alive' AND (:beats IS NULL OR beats = :beats)
