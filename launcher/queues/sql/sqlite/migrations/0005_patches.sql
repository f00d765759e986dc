-- Version 5: uncommitted changes to the code of items, once each, by the SHA-256 of their content.

CREATE TABLE patches (
    digest TEXT PRIMARY KEY,
    content BLOB NOT NULL
) STRICT;
