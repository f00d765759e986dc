DELETE FROM notices
WHERE sweep IN (SELECT value FROM json_each(:names)) AND state IN ('sent', 'failed')
    AND NOT EXISTS (SELECT 1 FROM items WHERE items.sweep = notices.sweep)
