-- Version 4: why items wait. The event log tells of holds too: an event's `hold` is the item's from then on, and an event
-- whose `before` and `after` are the same is a change of it alone. What lies outside of an item is told by stalls.

ALTER TABLE events ADD COLUMN hold TEXT;

DROP TRIGGER item_changes_state;
CREATE TRIGGER item_changes_state AFTER UPDATE OF state ON items WHEN old.state <> new.state
BEGIN
    INSERT INTO events (item, at, before, after, attempt, actor, reason, hold)
    VALUES (new.seq, new.changed_at, old.state, new.state, new.attempt, new.actor, new.reason, new.hold);
    UPDATE counts SET number = number - 1
    WHERE sweep = coalesce(old.sweep, '') AND queue = old.queue AND state = old.state;
    INSERT INTO counts (sweep, queue, state, number) VALUES (coalesce(new.sweep, ''), new.queue, new.state, 1)
    ON CONFLICT DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER item_changes_hold AFTER UPDATE OF hold ON items
WHEN old.hold IS NOT new.hold AND old.state = 'pending' AND new.state = 'pending'
BEGIN
    INSERT INTO events (item, at, before, after, attempt, hold)
    VALUES (new.seq, (julianday('now') - 2440587.5) * 86400.0, new.state, new.state, new.attempt, new.hold);
END;

-- When items of a queue could not be taken although they waited, and why: as an agent saw it, or, with the agent '', since
-- the queue was paused.
CREATE TABLE stalls (
    queue TEXT NOT NULL,
    needs INTEGER NOT NULL, -- what those items ask for; 0: nothing, -1: it is about all of them
    agent TEXT NOT NULL,
    cause TEXT NOT NULL,
    since REAL NOT NULL,
    until REAL, -- none: it goes on
    PRIMARY KEY (queue, needs, agent, cause, since)
) STRICT, WITHOUT ROWID;

CREATE INDEX stalls_by_end ON stalls (until);

CREATE TRIGGER queue_is_paused AFTER UPDATE OF paused ON queues WHEN new.paused AND NOT old.paused
BEGIN
    INSERT OR REPLACE INTO stalls VALUES ( -- paused again within a millisecond: it goes on
        new.name, -1, '', 'queue paused', (julianday('now') - 2440587.5) * 86400.0, NULL
    );
END;

CREATE TRIGGER queue_is_resumed AFTER UPDATE OF paused ON queues WHEN old.paused AND NOT new.paused
BEGIN
    UPDATE stalls SET until = (julianday('now') - 2440587.5) * 86400.0
    WHERE queue = new.name AND needs = -1 AND agent = '' AND until IS NULL;
END;

INSERT INTO stalls
SELECT name, -1, '', 'queue paused', (julianday('now') - 2440587.5) * 86400.0, NULL FROM queues WHERE paused;
