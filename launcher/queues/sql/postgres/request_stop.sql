-- The agent that holds these items stops their runs. They are locked in the order in which agents report, so that
-- neither waits for the other for ever.
UPDATE items SET stop_requested = true
WHERE seq IN (
    SELECT seq FROM items WHERE state IN ('leased', 'running') AND {where} ORDER BY id FOR NO KEY UPDATE
)
