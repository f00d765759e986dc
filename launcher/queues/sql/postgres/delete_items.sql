DELETE FROM items WHERE state NOT IN ('leased', 'running') AND {where}
