-- Version 5: jobs, `entity/project/name`, in numbered versions; the same content is one version. `latest` is an alias.

CREATE TABLE jobs (
    name TEXT COLLATE "C" NOT NULL,
    number INTEGER NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    entry_point TEXT NOT NULL,
    inputs TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name, number),
    UNIQUE (name, digest)
);

CREATE TABLE job_aliases (
    name TEXT COLLATE "C" NOT NULL,
    alias TEXT COLLATE "C" NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, number) REFERENCES jobs (name, number)
);
