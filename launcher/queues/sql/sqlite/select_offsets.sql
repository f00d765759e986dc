SELECT (SELECT coalesce(max(id), 0) + 1 FROM bases) AS first_base,
    (SELECT coalesce(max(id), 0) + 1 FROM shapes) AS first_shape
