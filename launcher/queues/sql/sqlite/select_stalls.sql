-- What kept agents from taking items of this one's queue that ask for the same.
SELECT stalls.queue, stalls.needs, stalls.agent, stalls.cause, stalls.since, stalls.until
FROM items JOIN stalls ON stalls.queue = items.queue AND stalls.needs IN (-1, coalesce(items.needs, 0))
WHERE items.id = :id AND (stalls.until IS NULL OR stalls.until > items.added_at)
