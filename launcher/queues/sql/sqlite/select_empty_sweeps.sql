-- The sweeps whose items are all deleted, and that have nothing to tell any more.
SELECT name FROM sweeps
WHERE NOT EXISTS (SELECT 1 FROM items WHERE items.sweep = sweeps.name)
    AND NOT EXISTS (SELECT 1 FROM notices WHERE notices.sweep = sweeps.name AND state IN ('due', 'sending'))
