-- Temporary, of this connection alone: a push gathers its rows here, so that composing a grid never holds a lock. The copy
-- into the real tables is one short transaction.
CREATE TEMP TABLE IF NOT EXISTS staged_items (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    given BOOLEAN NOT NULL,
    queue TEXT COLLATE "C" NOT NULL,
    sweep TEXT COLLATE "C",
    priority INTEGER NOT NULL,
    name TEXT,
    shape BIGINT NOT NULL,
    leaves TEXT NOT NULL,
    point TEXT NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    max_attempts INTEGER NOT NULL,
    expires_in DOUBLE PRECISION,
    needs TEXT
)
