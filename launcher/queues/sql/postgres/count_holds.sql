-- How many waiting items may not be taken now, and why.
SELECT queue, sweep, state, hold, count(*) AS number FROM items
WHERE state = 'pending' AND hold IS NOT NULL GROUP BY queue, sweep, state, hold
