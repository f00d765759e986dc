SELECT items.id, series.points FROM items JOIN series ON series.item = items.seq
WHERE items.id IN (SELECT value FROM json_each(:ids))
