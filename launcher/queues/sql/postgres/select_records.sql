SELECT key, revision, value, changed_at FROM records
WHERE kind = %(kind)s AND key >= %(first)s AND key < %(end)s
ORDER BY key
