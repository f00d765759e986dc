DELETE FROM shapes WHERE id IN (SELECT value FROM json_each(:ids))
