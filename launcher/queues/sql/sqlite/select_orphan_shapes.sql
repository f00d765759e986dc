-- No item that is added later refers to a shape that is there already: once an orphan, always one. The newest stays, for
-- its number would be given out again, and others may remember what it stood for.
SELECT id FROM shapes WHERE id < (SELECT max(id) FROM shapes) AND id NOT IN (SELECT shape FROM items)
