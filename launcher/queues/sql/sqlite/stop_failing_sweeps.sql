-- Sweeps in which something just failed are stopped, once as many of their items have failed as they allow.
INSERT OR IGNORE INTO stopped_sweeps
SELECT name FROM sweeps
WHERE name IN (SELECT value FROM json_each(:sweeps)) AND stop_after_failures <= (
    SELECT sum(number) FROM counts WHERE counts.sweep = sweeps.name AND counts.state = 'failed'
)
