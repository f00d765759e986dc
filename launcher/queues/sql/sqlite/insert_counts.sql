INSERT INTO counts (sweep, queue, state, number) VALUES (coalesce(:sweep, ''), :queue, 'pending', :number)
ON CONFLICT DO UPDATE SET number = number + excluded.number
