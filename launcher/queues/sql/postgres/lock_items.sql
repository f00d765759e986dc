-- They stay as they are until this transaction is over: between two statements an agent could put back one that runs, or
-- take one that waits. In the order in which agents report, so that neither waits for the other for ever.
WITH locked AS MATERIALIZED (
    SELECT 1 FROM items WHERE state IN ('pending', 'leased', 'running') AND {where} ORDER BY id FOR NO KEY UPDATE
)
SELECT count(*) AS number FROM locked
