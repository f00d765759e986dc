INSERT OR IGNORE INTO patches (digest, content) VALUES (:digest, :content)
