-- Version 9: what an item is called and which spec it has never changes, and is looked up apart from what does: each change
-- of an item writes a new row of it, and for that row an entry of every index.

CREATE TABLE identities (
    id TEXT COLLATE "C" PRIMARY KEY,
    item BIGINT NOT NULL,
    sweep TEXT COLLATE "C",
    fingerprint TEXT COLLATE "C" NOT NULL
);

INSERT INTO identities SELECT id, seq, sweep, fingerprint FROM items;

CREATE INDEX identities_of_sweep ON identities (sweep, fingerprint);

ALTER TABLE items DROP CONSTRAINT items_id_key;
ALTER TABLE items DROP COLUMN fingerprint;

CREATE OR REPLACE FUNCTION items_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM identities WHERE id IN (SELECT id FROM old_items);
    DELETE FROM events WHERE item IN (SELECT seq FROM old_items);
    DELETE FROM attempts WHERE item IN (SELECT seq FROM old_items);
    INSERT INTO counts (sweep, queue, state, number)
    SELECT coalesce(sweep, ''), queue, state, -count(*) FROM old_items GROUP BY sweep, queue, state;
    RETURN NULL;
END $$;
