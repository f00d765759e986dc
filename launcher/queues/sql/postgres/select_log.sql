-- The event log from a place on, oldest first; read along the log, so that no page looks at what came before it.
SELECT events.seq, id AS item, sweep, queue, at, before, after, events.attempt, events.actor, events.reason, events.hold
FROM events JOIN items ON items.seq = events.item
WHERE events.seq > %(after)s AND (%(since)s::double precision IS NULL OR events.at >= %(since)s) AND {where}
ORDER BY events.seq LIMIT %(page)s
