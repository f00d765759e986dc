INSERT OR IGNORE INTO needs (asked) SELECT DISTINCT needs FROM staged_items WHERE needs IS NOT NULL
