SELECT count(*) FROM staged_items
