-- The event log from a place on, oldest first; read along the log, so that no page looks at what came before it.
SELECT events.seq, id AS item, sweep, queue, at, before, after, events.attempt, events.actor, events.reason, events.hold
FROM events CROSS JOIN items ON items.seq = events.item
WHERE events.seq > :after AND (:since IS NULL OR events.at >= :since) AND {where}
ORDER BY events.seq LIMIT :page
