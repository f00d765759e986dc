INSERT INTO counts (sweep, queue, state, number)
SELECT coalesce(sweep, ''), queue, 'pending', count(*) FROM staged_items WHERE true GROUP BY sweep, queue
ON CONFLICT DO UPDATE SET number = number + excluded.number
