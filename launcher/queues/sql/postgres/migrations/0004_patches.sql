-- Version 4: uncommitted changes to the code of items, once each, by the SHA-256 of their content.

CREATE TABLE patches (digest TEXT COLLATE "C" PRIMARY KEY, content BYTEA NOT NULL);
