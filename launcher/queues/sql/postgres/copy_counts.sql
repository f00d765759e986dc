INSERT INTO counts (sweep, queue, state, number)
SELECT coalesce(sweep, ''), queue, 'pending', count(*) FROM staged_items GROUP BY sweep, queue
