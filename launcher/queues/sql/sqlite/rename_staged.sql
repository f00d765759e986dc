UPDATE staged_items SET id = :id WHERE seq = :seq
