UPDATE staged_items SET id = ? WHERE seq = ?
