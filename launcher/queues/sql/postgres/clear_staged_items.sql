DELETE FROM staged_items
