-- The agent that holds these items stops their runs.
UPDATE items SET stop_requested = true WHERE state IN ('leased', 'running') AND {where}
