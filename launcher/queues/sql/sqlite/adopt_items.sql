-- An agent takes over what one of its machine held when it died; the leases stay as they are.
UPDATE items SET agent = :agent, actor = :agent WHERE agent = :dead AND state IN ('leased', 'running')
