-- How many items an agent would take before a waiting one of the same queue.
SELECT count(*) AS number FROM items AS own CROSS JOIN items AS other
WHERE own.id = :id AND own.state = 'pending' AND other.queue = own.queue AND other.state = 'pending'
    AND other.hold IS NULL AND (other.priority, other.seq) < (own.priority, own.seq)
