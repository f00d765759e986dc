-- An item's last attempt reported no series: that of one before is not its.
DELETE FROM series USING identities WHERE series.item = identities.item AND identities.id = %(id)s
