SELECT document FROM bases WHERE id = :id
