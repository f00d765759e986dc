-- The transitions of an item; changes of its hold alone are left to the log.
SELECT at, before, after, attempt, actor, reason FROM events
WHERE item = (SELECT identities.item FROM identities WHERE id = %(id)s)
    AND before <> after ORDER BY seq
