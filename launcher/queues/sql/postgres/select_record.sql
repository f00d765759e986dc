SELECT key, revision, value, changed_at FROM records WHERE kind = %(kind)s AND key = %(key)s
