-- The sweeps that have somebody to notify and whose end was not told yet, with how many items are in which state.
SELECT sweeps.name, sweeps.notify, counts.state, sum(counts.number) AS number
FROM sweeps JOIN counts ON counts.sweep = sweeps.name
WHERE sweeps.notify IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM notices WHERE notices.sweep = sweeps.name AND notices.event = 'end')
GROUP BY sweeps.name, sweeps.notify, counts.state HAVING sum(counts.number) > 0
