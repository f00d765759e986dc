SELECT bases.document, items.difference FROM items JOIN bases ON bases.id = items.base WHERE items.id = :id
