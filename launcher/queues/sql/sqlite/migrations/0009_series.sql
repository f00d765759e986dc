-- Version 9: what runs reported with a step, once an item, compressed.

CREATE TABLE series (
    item INTEGER PRIMARY KEY REFERENCES items (seq) ON DELETE CASCADE,
    points BLOB NOT NULL
) STRICT;
