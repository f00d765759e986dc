-- Version 12: one index serves those who look for what an agent holds, and for what runs of a queue; few items are held at
-- any time, and each change of an item costs the less.

DROP INDEX items_held;
DROP INDEX items_busy;
CREATE INDEX items_held ON items (agent, queue) WHERE state IN ('leased', 'running');
