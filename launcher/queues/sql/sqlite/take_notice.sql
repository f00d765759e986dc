-- One that is due, or was taken by an agent that has not told in time how it went -> ours.
UPDATE notices SET state = 'sending', agent = :agent, tries = tries + 1, due_at = :until
WHERE (sweep, target, event) IN (
    SELECT sweep, target, event FROM notices
    WHERE state IN ('due', 'sending') AND due_at <= :now
    ORDER BY due_at LIMIT 1
)
RETURNING sweep, target, event, counts, tries
