-- The agent that holds these items stops their runs at its next heartbeat.
UPDATE items SET stop_requested = 1 WHERE state IN ('leased', 'running') AND {where}
