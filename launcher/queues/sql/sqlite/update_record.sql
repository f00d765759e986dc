UPDATE records SET value = :value, revision = revision + 1, changed_at = :now
WHERE kind = :kind AND key = :key AND revision = :revision
