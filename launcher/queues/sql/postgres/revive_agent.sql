-- Who takes items is watched again, also when it was declared lost meanwhile.
UPDATE agents SET state = 'alive' WHERE id = %(agent)s AND state <> 'alive'
