-- An item's last attempt reported no series: that of one before is not its.
DELETE FROM series WHERE item = (SELECT seq FROM items WHERE id = :id)
