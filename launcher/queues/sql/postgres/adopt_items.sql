-- An agent takes over what one of its machine held when it died; the leases stay as they are.
UPDATE items SET agent = %(agent)s, actor = %(agent)s WHERE agent = %(dead)s AND state IN ('leased', 'running')
