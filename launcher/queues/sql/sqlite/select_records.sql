SELECT key, revision, value, changed_at FROM records
WHERE kind = :kind AND key >= :first AND key < :end
ORDER BY key
