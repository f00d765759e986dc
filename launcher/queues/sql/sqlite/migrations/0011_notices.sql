-- Version 11: whom a sweep notifies, and a row for each notice that has come, so that each is sent once.

ALTER TABLE sweeps ADD COLUMN notify TEXT;

CREATE TABLE notices (
    sweep TEXT NOT NULL REFERENCES sweeps (name),
    target TEXT NOT NULL, -- the command or the webhook
    event TEXT NOT NULL,
    counts TEXT NOT NULL, -- of the sweep's items by state, when it came
    state TEXT NOT NULL CHECK (state IN ('due', 'sending', 'sent', 'failed')),
    due_at REAL NOT NULL, -- sending: when another agent may take it
    tries INTEGER NOT NULL DEFAULT 0,
    agent TEXT,
    error TEXT,
    PRIMARY KEY (sweep, target, event)
) STRICT, WITHOUT ROWID;

CREATE INDEX notices_to_send ON notices (due_at) WHERE state IN ('due', 'sending');
CREATE INDEX sweeps_notifying ON sweeps (name) WHERE notify IS NOT NULL;
