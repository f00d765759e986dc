SELECT asked, id FROM needs WHERE asked IN (SELECT value FROM json_each(:asked))
