-- The same for few items: read along these.
SELECT events.seq, id AS item, sweep, queue, at, before, after, events.attempt, events.actor, events.reason, events.hold
FROM items CROSS JOIN events ON events.item = items.seq
WHERE events.seq > :after AND (:since IS NULL OR events.at >= :since) AND {where}
ORDER BY events.seq LIMIT :page
