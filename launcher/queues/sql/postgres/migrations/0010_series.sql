-- Version 10: what runs reported with a step, once an item, compressed.

CREATE TABLE series (
    item BIGINT PRIMARY KEY REFERENCES items (seq) ON DELETE CASCADE,
    points BYTEA NOT NULL
);
ALTER TABLE series ALTER COLUMN points SET STORAGE EXTERNAL; -- it is compressed already
