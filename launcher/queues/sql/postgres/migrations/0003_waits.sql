-- Version 3: why items wait. The event log tells of holds too: an event's `hold` is the item's from then on, and an event
-- whose `before` and `after` are the same is a change of it alone. What lies outside of an item is told by stalls.

ALTER TABLE events ADD COLUMN hold TEXT;

-- Only what goes back into its queue can be held from then on; other events cost no more than the condition.
CREATE FUNCTION event_has_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.hold := (SELECT hold FROM items WHERE seq = NEW.item);
    RETURN NEW;
END $$;

CREATE TRIGGER event_has_hold BEFORE INSERT ON events FOR EACH ROW
WHEN (NEW.after = 'pending' AND NEW.before <> 'pending') EXECUTE FUNCTION event_has_hold();

-- For each row, so that its condition is all that it costs the statements that change no hold.
CREATE FUNCTION item_changes_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (item, at, before, after, attempt, hold)
    VALUES (NEW.seq, extract(epoch FROM clock_timestamp()), NEW.state, NEW.state, NEW.attempt, NEW.hold);
    RETURN NULL;
END $$;

CREATE TRIGGER item_changes_hold AFTER UPDATE OF hold ON items FOR EACH ROW
WHEN (OLD.hold IS DISTINCT FROM NEW.hold AND OLD.state = 'pending' AND NEW.state = 'pending')
EXECUTE FUNCTION item_changes_hold();

-- When items of a queue could not be taken although they waited, and why: as an agent saw it, or, with the agent '', since
-- the queue was paused.
CREATE TABLE stalls (
    queue TEXT COLLATE "C" NOT NULL,
    needs BIGINT NOT NULL, -- what those items ask for; 0: nothing, -1: it is about all of them
    agent TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C" NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    until DOUBLE PRECISION, -- none: it goes on
    PRIMARY KEY (queue, needs, agent, cause, since)
);

CREATE INDEX stalls_by_end ON stalls (until);

CREATE FUNCTION queue_is_paused() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.paused THEN
        INSERT INTO stalls VALUES (NEW.name, -1, '', 'queue paused', extract(epoch FROM clock_timestamp()), NULL)
        ON CONFLICT DO NOTHING;
    ELSE
        UPDATE stalls SET until = extract(epoch FROM clock_timestamp())
        WHERE queue = NEW.name AND needs = -1 AND agent = '' AND until IS NULL;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER queue_is_paused AFTER UPDATE OF paused ON queues FOR EACH ROW
WHEN (OLD.paused <> NEW.paused) EXECUTE FUNCTION queue_is_paused();

INSERT INTO stalls
SELECT name, -1, '', 'queue paused', extract(epoch FROM clock_timestamp()), NULL FROM queues WHERE paused;
