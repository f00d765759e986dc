INSERT INTO needs (asked) SELECT value FROM json_each(:asked) WHERE true ON CONFLICT DO NOTHING
