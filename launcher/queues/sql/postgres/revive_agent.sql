-- Who takes items is watched again, also when it was declared lost meanwhile. The row stays locked to the end, so that
-- who declares it lost sees what it takes now.
UPDATE agents SET state = 'alive' WHERE id = %(agent)s
