-- One that is due, or was taken by an agent that has not told in time how it went -> ours.
UPDATE notices SET state = 'sending', agent = %(agent)s, tries = tries + 1, due_at = %(until)s
WHERE (sweep, target, event) IN (
    SELECT sweep, target, event FROM notices
    WHERE state IN ('due', 'sending') AND due_at <= %(now)s
    ORDER BY due_at LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING sweep, target, event, counts, tries
