NOT EXISTS (SELECT value FROM json_each(:points) EXCEPT SELECT value FROM json_each(items.point))
