SELECT key, revision, value, changed_at FROM records WHERE kind = :kind AND key = :key
