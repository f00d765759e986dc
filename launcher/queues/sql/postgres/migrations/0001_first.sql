-- Version 1. Times are seconds since the epoch; JSON is text, as it was written; a sweep of '' in counts stands for "no
-- sweep". Texts that are compared have the collation "C", so that they sort as everywhere else.

CREATE SEQUENCE pushes;

CREATE TABLE queues (
    name TEXT COLLATE "C" PRIMARY KEY,
    entity TEXT NOT NULL,
    resource TEXT NOT NULL,
    prioritization TEXT NOT NULL CHECK (prioritization IN ('V0', 'DISABLED')),
    paused BOOLEAN NOT NULL DEFAULT false,
    resource_args TEXT NOT NULL DEFAULT '{}',
    variables TEXT NOT NULL DEFAULT '{}',
    max_running INTEGER CHECK (max_running > 0),
    allow_overrides BOOLEAN NOT NULL DEFAULT true,
    links TEXT NOT NULL DEFAULT '{}',
    description TEXT NOT NULL DEFAULT '',
    created_at DOUBLE PRECISION NOT NULL,
    deleted_at DOUBLE PRECISION, -- ended items keep the name of a queue that is gone
    retry TEXT NOT NULL DEFAULT '{}',
    timeout TEXT NOT NULL DEFAULT '{}'
);

INSERT INTO queues (name, entity, resource, prioritization, created_at)
VALUES ('default', '', 'local-process', 'V0', extract(epoch FROM clock_timestamp()));

CREATE TABLE sweeps (
    name TEXT COLLATE "C" PRIMARY KEY,
    metric TEXT,
    goal TEXT NOT NULL CHECK (goal IN ('maximize', 'minimize')),
    created_at DOUBLE PRECISION NOT NULL,
    stop_after_failures INTEGER CHECK (stop_after_failures > 0)
);

-- What the specs of a push share. An item's document is a base with other values at the paths of a shape: bases hold
-- documents, shapes the paths that are changed or gone, items the values at the changed ones. What a push adds refers to
-- nothing that could be deleted, so no foreign key is checked for each of its rows.
CREATE TABLE bases (id BIGINT PRIMARY KEY, document TEXT NOT NULL);

CREATE TABLE shapes (id BIGINT PRIMARY KEY, base BIGINT NOT NULL, changed TEXT NOT NULL, gone TEXT NOT NULL);

CREATE TABLE items (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    queue TEXT COLLATE "C" NOT NULL,
    sweep TEXT COLLATE "C",
    state TEXT COLLATE "C" NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'leased', 'running', 'finished', 'failed', 'cancelled')),
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    name TEXT,
    shape BIGINT NOT NULL,
    leaves TEXT NOT NULL,
    point TEXT NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    added_at DOUBLE PRECISION NOT NULL,
    changed_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION,
    finished_at DOUBLE PRECISION,
    agent TEXT COLLATE "C",
    token TEXT COLLATE "C",
    stop_requested BOOLEAN NOT NULL DEFAULT false,
    run_dir TEXT,
    handle TEXT,
    exit_code INTEGER,
    stage TEXT,
    actor TEXT,
    reason TEXT,
    result TEXT,
    hold TEXT CHECK (hold IN ('backoff', 'failures', 'paused')),
    not_before DOUBLE PRECISION, -- with hold = 'backoff'
    expires_at DOUBLE PRECISION -- waiting ones have failed then
);

-- Partial, so that ended items cost the hot statements nothing.
CREATE INDEX items_waiting ON items (queue, priority, seq) WHERE state = 'pending' AND hold IS NULL;
CREATE INDEX items_backing_off ON items (not_before) WHERE state = 'pending' AND hold = 'backoff';
CREATE INDEX items_expiring ON items (expires_at) WHERE state = 'pending' AND expires_at IS NOT NULL;
CREATE INDEX items_held ON items (agent) WHERE state IN ('leased', 'running');
CREATE INDEX items_busy ON items (queue) WHERE state IN ('leased', 'running');
CREATE INDEX items_of_sweep ON items (sweep, fingerprint);
CREATE INDEX items_by_sweep ON items (sweep, seq);

CREATE TABLE agents (
    id TEXT COLLATE "C" PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process_started DOUBLE PRECISION NOT NULL,
    queues TEXT NOT NULL,
    max_jobs INTEGER NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('alive', 'lost', 'left')),
    beats BIGINT NOT NULL DEFAULT 0
);

-- Append-only: one row a transition, written by the trigger below, so that no statement can forget it.
CREATE TABLE events (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    actor TEXT,
    reason TEXT
);

CREATE INDEX events_of_item ON events (item);

-- The attempts before an item's last one, which the item itself tells of.
CREATE TABLE attempts (
    item BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    agent TEXT,
    run_dir TEXT,
    started_at DOUBLE PRECISION,
    finished_at DOUBLE PRECISION,
    exit_code INTEGER,
    stage TEXT,
    reason TEXT,
    PRIMARY KEY (item, attempt)
);

-- How many items are in which state: the sum of all rows for it. Each change adds rows, and heartbeats sum them up.
CREATE TABLE counts (
    sweep TEXT COLLATE "C" NOT NULL,
    queue TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL
);

CREATE INDEX counts_of_sweep ON counts (sweep, state);

CREATE FUNCTION items_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (item, at, before, after, attempt, actor, reason)
    SELECT seq, became.changed_at, was.state, became.state, became.attempt, became.actor, became.reason
    FROM old_items AS was JOIN new_items AS became USING (seq) WHERE was.state <> became.state ORDER BY seq;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    INSERT INTO counts (sweep, queue, state, number)
    SELECT coalesce(sweep, ''), queue, state, sum(number) FROM (
        SELECT was.sweep, was.queue, was.state, -1 AS number
        FROM old_items AS was JOIN new_items AS became USING (seq) WHERE was.state <> became.state
        UNION ALL
        SELECT became.sweep, became.queue, became.state, 1
        FROM old_items AS was JOIN new_items AS became USING (seq) WHERE was.state <> became.state
    ) AS change GROUP BY sweep, queue, state;

    INSERT INTO attempts
    SELECT seq, was.attempt, 'failed', was.agent, was.run_dir, was.started_at, became.finished_at, became.exit_code,
        became.stage, became.reason
    FROM old_items AS was JOIN new_items AS became USING (seq)
    WHERE became.state = 'pending' AND was.state IN ('leased', 'running')
    UNION ALL
    SELECT seq, was.attempt, was.state, was.actor, was.run_dir, was.started_at, was.finished_at, was.exit_code,
        was.stage, was.reason
    FROM old_items AS was JOIN new_items AS became USING (seq)
    WHERE became.state = 'pending' AND was.state IN ('failed', 'cancelled') AND was.attempt > 0
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER items_changed AFTER UPDATE ON items
REFERENCING OLD TABLE AS old_items NEW TABLE AS new_items FOR EACH STATEMENT EXECUTE FUNCTION items_changed();

CREATE FUNCTION items_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM events WHERE item IN (SELECT seq FROM old_items);
    DELETE FROM attempts WHERE item IN (SELECT seq FROM old_items);
    INSERT INTO counts (sweep, queue, state, number)
    SELECT coalesce(sweep, ''), queue, state, -count(*) FROM old_items GROUP BY sweep, queue, state;
    RETURN NULL;
END $$;

CREATE TRIGGER items_deleted AFTER DELETE ON items
REFERENCING OLD TABLE AS old_items FOR EACH STATEMENT EXECUTE FUNCTION items_deleted();
