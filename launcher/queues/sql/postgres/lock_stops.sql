-- Who counts the failures of a sweep sees those that others are telling of: one at a time, in the order of their names.
-- Not by the sweep's row, which whoever adds to the sweep keeps for long.
SELECT pg_advisory_xact_lock(hashtext('launcher stops'), hashtext(name)) FROM (
    SELECT name FROM sweeps
    WHERE stop_after_failures IS NOT NULL AND name IN (SELECT jsonb_array_elements_text(%(sweeps)s::jsonb)) ORDER BY name
) AS failing
