agent = %(agent)s AND state IN ('leased', 'running')
