-- Version 13: what each change of an item costs. One index serves those who look for what an agent holds, and for what
-- runs of a queue; few items are held at any time. The attempts before an item's last one are written for the few rows
-- that have some; each other row costs no more than the condition.

DROP INDEX items_held;
DROP INDEX items_busy;
CREATE INDEX items_held ON items (agent, queue) WHERE state IN ('leased', 'running');

CREATE OR REPLACE FUNCTION items_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH change AS MATERIALIZED (
        SELECT became.seq, was.state AS before, became.state AS after, became.queue, became.sweep, became.changed_at,
            became.actor, became.reason, became.attempt
        FROM old_items AS was JOIN new_items AS became USING (seq) WHERE was.state <> became.state
    ),
    logged AS (
        INSERT INTO events (item, at, before, after, attempt, actor, reason)
        SELECT seq, changed_at, before, after, attempt, actor, reason FROM change ORDER BY seq
    )
    INSERT INTO counts (sweep, queue, state, number)
    SELECT coalesce(sweep, ''), queue, state, sum(number) FROM (
        SELECT sweep, queue, before AS state, -1 AS number FROM change
        UNION ALL
        SELECT sweep, queue, after, 1 FROM change
    ) AS moved GROUP BY sweep, queue, state;
    RETURN NULL;
END $$;

CREATE FUNCTION item_waits_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('leased', 'running') THEN
        INSERT INTO attempts VALUES (
            NEW.seq, OLD.attempt, 'failed', OLD.agent, OLD.run_dir, OLD.started_at, NEW.finished_at, NEW.exit_code,
            NEW.stage, NEW.reason
        ) ON CONFLICT DO NOTHING;
    ELSIF OLD.attempt > 0 THEN
        INSERT INTO attempts VALUES (
            NEW.seq, OLD.attempt, OLD.state, OLD.actor, OLD.run_dir, OLD.started_at, OLD.finished_at, OLD.exit_code,
            OLD.stage, OLD.reason
        ) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER item_waits_again AFTER UPDATE OF state ON items FOR EACH ROW
WHEN (NEW.state = 'pending' AND OLD.state <> 'pending') EXECUTE FUNCTION item_waits_again();
