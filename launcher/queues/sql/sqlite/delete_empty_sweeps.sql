DELETE FROM sweeps
WHERE name IN (SELECT value FROM json_each(:names))
    AND NOT EXISTS (SELECT 1 FROM items WHERE items.sweep = sweeps.name)
    AND NOT EXISTS (SELECT 1 FROM notices WHERE notices.sweep = sweeps.name)
