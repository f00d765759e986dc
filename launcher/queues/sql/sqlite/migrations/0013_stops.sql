-- Version 13: which sweeps are stopped, for enough of them has failed, until somebody resumes them.

CREATE TABLE stopped_sweeps (sweep TEXT PRIMARY KEY REFERENCES sweeps (name) ON DELETE CASCADE) WITHOUT ROWID;

INSERT INTO stopped_sweeps SELECT DISTINCT sweep FROM items WHERE state = 'pending' AND hold = 'failures';

-- When an attempt began is known at its end.
DROP TRIGGER run_is_put_back;
CREATE TRIGGER run_is_put_back AFTER UPDATE OF state ON items
WHEN new.state = 'pending' AND old.state IN ('leased', 'running')
BEGIN
    INSERT OR IGNORE INTO attempts VALUES (
        new.seq, old.attempt, 'failed', old.agent, old.run_dir, new.started_at, new.finished_at, new.exit_code,
        new.stage, new.reason
    );
END;
