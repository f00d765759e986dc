-- What the sweep has already is not added again.
DELETE FROM staged_items WHERE EXISTS (
    SELECT 1 FROM items WHERE items.sweep = staged_items.sweep AND items.fingerprint = staged_items.fingerprint
)
