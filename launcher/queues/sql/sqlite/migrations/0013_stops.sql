-- Version 13: which sweeps are stopped, for enough of them has failed, until somebody resumes them.

CREATE TABLE stopped_sweeps (sweep TEXT PRIMARY KEY REFERENCES sweeps (name) ON DELETE CASCADE) WITHOUT ROWID;

INSERT INTO stopped_sweeps SELECT DISTINCT sweep FROM items WHERE state = 'pending' AND hold = 'failures';
