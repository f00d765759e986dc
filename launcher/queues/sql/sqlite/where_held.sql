agent = :agent AND state IN ('leased', 'running')
