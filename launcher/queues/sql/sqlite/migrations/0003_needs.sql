-- Version 3: what items ask for (CPUs, memory, GPUs, places in limits), and what agents have of it. Items that ask for the
-- same share a row of needs; a queue's waiting items are looked up by it, so that many that do not fit cost one look.

CREATE TABLE needs (
    id INTEGER PRIMARY KEY,
    asked TEXT NOT NULL UNIQUE
) STRICT;

ALTER TABLE items ADD COLUMN needs INTEGER REFERENCES needs (id); -- none: it asks for nothing
ALTER TABLE agents ADD COLUMN room TEXT NOT NULL DEFAULT '{}';

DROP INDEX items_waiting;
CREATE INDEX items_waiting ON items (queue, priority, seq) WHERE state = 'pending' AND hold IS NULL AND needs IS NULL;
CREATE INDEX items_sized ON items (queue, needs, priority, seq)
WHERE state = 'pending' AND hold IS NULL AND needs IS NOT NULL;
CREATE INDEX items_using ON items (needs) WHERE state IN ('leased', 'running') AND needs IS NOT NULL;
