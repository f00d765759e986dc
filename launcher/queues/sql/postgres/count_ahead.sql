-- How many items an agent would take before a waiting one of the same queue; each part by an index of its own.
SELECT (
    SELECT count(*) FROM items AS other
    WHERE other.queue = own.queue AND other.state = 'pending' AND other.hold IS NULL AND other.needs IS NULL
        AND (other.priority, other.seq) < (own.priority, own.seq)
) + (
    SELECT count(*) FROM items AS other
    WHERE other.queue = own.queue AND other.state = 'pending' AND other.hold IS NULL AND other.needs IS NOT NULL
        AND (other.priority, other.seq) < (own.priority, own.seq)
) AS number
FROM items AS own WHERE own.seq = (SELECT item FROM identities WHERE id = %(id)s) AND own.state = 'pending'
