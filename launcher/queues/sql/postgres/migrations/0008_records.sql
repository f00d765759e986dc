-- Version 8: what the server keeps beside queues and items (users, runs, artifacts, …): JSON by kind and key. `revision`
-- grows with each change, so that who changes what somebody else changed meanwhile notices.

CREATE TABLE records (
    kind TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    revision INTEGER NOT NULL,
    value TEXT NOT NULL,
    changed_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (kind, key)
);
