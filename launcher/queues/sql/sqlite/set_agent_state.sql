UPDATE agents SET state = :state WHERE id IN (SELECT value FROM json_each(:agents)) AND state = 'alive'
