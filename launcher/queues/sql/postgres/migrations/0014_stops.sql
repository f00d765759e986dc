-- Version 14: which sweeps are stopped, for enough of them has failed, until somebody resumes them. Not a column of sweeps:
-- whoever adds to a sweep keeps its row until all is added.

CREATE TABLE stopped_sweeps (sweep TEXT COLLATE "C" PRIMARY KEY REFERENCES sweeps (name) ON DELETE CASCADE);

INSERT INTO stopped_sweeps SELECT DISTINCT sweep FROM items WHERE state = 'pending' AND hold = 'failures';
