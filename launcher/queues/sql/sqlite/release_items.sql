-- leased | running → cancelled if that was asked for, pending while attempts are left, else failed: what agents that
-- are gone held.
UPDATE items
SET state = CASE WHEN stop_requested THEN 'cancelled' WHEN attempt < max_attempts THEN 'pending' ELSE 'failed' END,
    stage = 'lost', reason = :reason, actor = agent, token = NULL, agent = NULL, stop_requested = 0,
    finished_at = :now, changed_at = :now
WHERE state IN ('leased', 'running') AND agent IN (SELECT value FROM json_each(:agents))
