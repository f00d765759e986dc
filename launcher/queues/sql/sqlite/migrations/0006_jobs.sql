-- Version 6: jobs, `entity/project/name`, in numbered versions; the same content is one version. `latest` is an alias.

CREATE TABLE jobs (
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    entry_point TEXT NOT NULL,
    inputs TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (name, number),
    UNIQUE (name, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_aliases (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, number) REFERENCES jobs (name, number)
) STRICT, WITHOUT ROWID;
