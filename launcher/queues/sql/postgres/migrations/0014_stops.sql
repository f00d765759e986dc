-- Version 14: which sweeps are stopped, for enough of them has failed, until somebody resumes them. Not a column of sweeps:
-- whoever adds to a sweep keeps its row until all is added.

CREATE TABLE stopped_sweeps (sweep TEXT COLLATE "C" PRIMARY KEY REFERENCES sweeps (name) ON DELETE CASCADE);

INSERT INTO stopped_sweeps SELECT DISTINCT sweep FROM items WHERE state = 'pending' AND hold = 'failures';

-- When an attempt began is known at its end.
CREATE OR REPLACE FUNCTION item_waits_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('leased', 'running') THEN
        INSERT INTO attempts VALUES (
            NEW.seq, OLD.attempt, 'failed', OLD.agent, OLD.run_dir, NEW.started_at, NEW.finished_at, NEW.exit_code,
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
