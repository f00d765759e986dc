SELECT token FROM items
WHERE state IN ('leased', 'running') AND agent IS NOT NULL AND token IN (SELECT value FROM json_each(:tokens))
