INSERT INTO counts (sweep, queue, state, number) VALUES (coalesce(%(sweep)s, ''), %(queue)s, 'pending', %(number)s)
