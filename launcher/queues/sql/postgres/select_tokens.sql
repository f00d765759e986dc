SELECT token, stop_requested FROM items WHERE agent = %(agent)s AND state IN ('leased', 'running')
