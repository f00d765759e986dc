-- Temporary, of this connection alone: a push gathers its rows here, so that composing a grid never holds the store's
-- write lock. The copy into the real tables is one short transaction.
CREATE TEMP TABLE IF NOT EXISTS staged_items (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    given INTEGER NOT NULL,
    queue TEXT NOT NULL,
    sweep TEXT,
    priority INTEGER NOT NULL,
    name TEXT,
    shape INTEGER NOT NULL,
    leaves TEXT NOT NULL,
    point TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    max_attempts INTEGER NOT NULL,
    expires_in REAL,
    needs TEXT
)
