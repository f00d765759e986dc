-- Version 1. Times are seconds since the epoch; JSON is text; a sweep of '' in counts stands for "no sweep".

CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    entity TEXT NOT NULL,
    resource TEXT NOT NULL,
    prioritization TEXT NOT NULL CHECK (prioritization IN ('V0', 'DISABLED')),
    paused INTEGER NOT NULL DEFAULT 0,
    resource_args TEXT NOT NULL DEFAULT '{}',
    variables TEXT NOT NULL DEFAULT '{}',
    max_running INTEGER CHECK (max_running > 0),
    allow_overrides INTEGER NOT NULL DEFAULT 1,
    links TEXT NOT NULL DEFAULT '{}',
    description TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL,
    deleted_at REAL -- ended items keep the name of a queue that is gone
) STRICT;

INSERT INTO queues (name, entity, resource, prioritization, created_at)
VALUES ('default', '', 'local-process', 'V0', CAST(unixepoch() AS REAL));

CREATE TABLE sweeps (
    name TEXT PRIMARY KEY,
    metric TEXT,
    goal TEXT NOT NULL CHECK (goal IN ('maximize', 'minimize')),
    created_at REAL NOT NULL
) STRICT;

-- What the specs of a push share. An item's document is a base with other values at the paths of a shape: bases hold
-- documents, shapes the paths that are changed or gone, items the values at the changed ones.
CREATE TABLE bases (
    id INTEGER PRIMARY KEY,
    document TEXT NOT NULL
) STRICT;

CREATE TABLE shapes (
    id INTEGER PRIMARY KEY,
    base INTEGER NOT NULL REFERENCES bases (id),
    changed TEXT NOT NULL,
    gone TEXT NOT NULL
) STRICT;

CREATE TABLE items (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL REFERENCES queues (name),
    sweep TEXT REFERENCES sweeps (name),
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'leased', 'running', 'finished', 'failed', 'cancelled')),
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    name TEXT,
    shape INTEGER NOT NULL REFERENCES shapes (id),
    leaves TEXT NOT NULL,
    point TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    added_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    agent TEXT,
    token TEXT,
    stop_requested INTEGER NOT NULL DEFAULT 0,
    run_dir TEXT,
    handle TEXT,
    exit_code INTEGER,
    stage TEXT,
    actor TEXT,
    reason TEXT,
    result TEXT
) STRICT;

-- Partial, so that ended items cost the hot statements nothing.
CREATE INDEX items_waiting ON items (queue, priority, seq) WHERE state = 'pending';
CREATE INDEX items_held ON items (agent) WHERE state IN ('leased', 'running');
CREATE INDEX items_busy ON items (queue) WHERE state IN ('leased', 'running');
CREATE INDEX items_of_sweep ON items (sweep, fingerprint);
CREATE INDEX items_by_sweep ON items (sweep);

CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process_started REAL NOT NULL,
    queues TEXT NOT NULL,
    max_jobs INTEGER NOT NULL,
    started_at REAL NOT NULL,
    seen_at REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('alive', 'lost', 'left'))
) STRICT;

CREATE INDEX agents_alive ON agents (seen_at) WHERE state = 'alive';

-- Append-only: one row a transition, written by the trigger below, so that no statement can forget it.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    item INTEGER NOT NULL,
    at REAL NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    actor TEXT,
    reason TEXT
) STRICT;

CREATE INDEX events_of_item ON events (item);

-- Kept by the trigger and by push, so that `launcher status` costs the same with a million items.
CREATE TABLE counts (
    sweep TEXT NOT NULL,
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (sweep, queue, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER item_changes_state AFTER UPDATE OF state ON items WHEN old.state <> new.state
BEGIN
    INSERT INTO events (item, at, before, after, attempt, actor, reason)
    VALUES (new.seq, new.changed_at, old.state, new.state, new.attempt, new.actor, new.reason);
    UPDATE counts SET number = number - 1
    WHERE sweep = coalesce(old.sweep, '') AND queue = old.queue AND state = old.state;
    INSERT INTO counts (sweep, queue, state, number) VALUES (coalesce(new.sweep, ''), new.queue, new.state, 1)
    ON CONFLICT DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER item_is_deleted AFTER DELETE ON items
BEGIN
    DELETE FROM events WHERE item = old.seq;
    UPDATE counts SET number = number - 1
    WHERE sweep = coalesce(old.sweep, '') AND queue = old.queue AND state = old.state;
END;
