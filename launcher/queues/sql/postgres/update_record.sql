UPDATE records SET value = %(value)s, revision = revision + 1, changed_at = %(now)s
WHERE kind = %(kind)s AND key = %(key)s AND revision = %(revision)s
