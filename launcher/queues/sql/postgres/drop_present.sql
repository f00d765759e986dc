-- What the sweep has already is not added again.
DELETE FROM staged_items WHERE EXISTS (
    SELECT 1 FROM identities AS known
    WHERE known.sweep = staged_items.sweep AND known.fingerprint = staged_items.fingerprint
)
