SELECT count(*) AS number FROM staged_items
