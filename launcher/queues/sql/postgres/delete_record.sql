DELETE FROM records WHERE kind = %(kind)s AND key = %(key)s
