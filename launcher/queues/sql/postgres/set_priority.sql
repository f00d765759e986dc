UPDATE items SET priority = %(priority)s
WHERE state = 'pending' AND queue IN (SELECT name FROM queues WHERE prioritization = 'V0') AND {where}
