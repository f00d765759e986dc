SELECT token, stop_requested FROM items WHERE agent = :agent AND state IN ('leased', 'running')
