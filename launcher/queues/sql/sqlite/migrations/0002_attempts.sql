-- Version 2: what became of each attempt; items that wait for something (`hold`); agents that are watched by their
-- beats, not by clocks; retry and timeout as a queue's defaults.

ALTER TABLE queues ADD COLUMN retry TEXT NOT NULL DEFAULT '{}';
ALTER TABLE queues ADD COLUMN timeout TEXT NOT NULL DEFAULT '{}';
ALTER TABLE sweeps ADD COLUMN stop_after_failures INTEGER CHECK (stop_after_failures > 0);
ALTER TABLE agents ADD COLUMN beats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN hold TEXT CHECK (hold IN ('backoff', 'failures', 'paused'));
ALTER TABLE items ADD COLUMN not_before REAL; -- with hold = 'backoff'
ALTER TABLE items ADD COLUMN expires_at REAL; -- waiting ones have failed then

DROP INDEX items_waiting;
CREATE INDEX items_waiting ON items (queue, priority, seq) WHERE state = 'pending' AND hold IS NULL;
CREATE INDEX items_backing_off ON items (not_before) WHERE state = 'pending' AND hold = 'backoff';
CREATE INDEX items_expiring ON items (expires_at) WHERE state = 'pending' AND expires_at IS NOT NULL;

-- The attempts before an item's last one, which the item itself tells of.
CREATE TABLE attempts (
    item INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    agent TEXT,
    run_dir TEXT,
    started_at REAL,
    finished_at REAL,
    exit_code INTEGER,
    stage TEXT,
    reason TEXT,
    PRIMARY KEY (item, attempt)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER run_is_put_back AFTER UPDATE OF state ON items
WHEN new.state = 'pending' AND old.state IN ('leased', 'running')
BEGIN
    INSERT OR IGNORE INTO attempts VALUES (
        new.seq, old.attempt, 'failed', old.agent, old.run_dir, old.started_at, new.finished_at, new.exit_code,
        new.stage, new.reason
    );
END;

CREATE TRIGGER item_is_retried AFTER UPDATE OF state ON items
WHEN new.state = 'pending' AND old.state IN ('failed', 'cancelled') AND old.attempt > 0
BEGIN
    INSERT OR IGNORE INTO attempts VALUES (
        new.seq, old.attempt, old.state, old.actor, old.run_dir, old.started_at, old.finished_at, old.exit_code,
        old.stage, old.reason
    );
END;

DROP TRIGGER item_is_deleted;
CREATE TRIGGER item_is_deleted AFTER DELETE ON items
BEGIN
    DELETE FROM events WHERE item = old.seq;
    DELETE FROM attempts WHERE item = old.seq;
    UPDATE counts SET number = number - 1
    WHERE sweep = coalesce(old.sweep, '') AND queue = old.queue AND state = old.state;
END;
