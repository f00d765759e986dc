-- The same for few items: read along these.
SELECT events.seq, id AS item, sweep, queue, at, before, after, events.attempt, events.actor, events.reason, events.hold
FROM items JOIN events ON events.item = items.seq
WHERE events.seq > %(after)s AND (%(since)s::double precision IS NULL OR events.at >= %(since)s) AND {where}
ORDER BY events.seq LIMIT %(page)s
