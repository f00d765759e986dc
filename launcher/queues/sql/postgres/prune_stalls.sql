-- The newest are enough to tell by; a queue's open pause ends never.
DELETE FROM stalls WHERE until < (SELECT until FROM stalls WHERE until IS NOT NULL ORDER BY until DESC LIMIT 1 OFFSET %(kept)s)
