-- Which of these specs (by their places) the sweep has already, and in which state; of several items with one spec, the
-- newest that has not failed counts.
SELECT DISTINCT ON (brought.place) brought.place - 1 AS place, had.state
FROM jsonb_array_elements_text(%(fingerprints)s::jsonb) WITH ORDINALITY AS brought (fingerprint, place)
JOIN identities AS known ON known.sweep = %(sweep)s AND known.fingerprint = brought.fingerprint
JOIN items AS had ON had.seq = known.item
ORDER BY brought.place, had.state = 'failed', had.seq DESC
