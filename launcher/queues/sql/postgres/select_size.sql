SELECT coalesce(sum(pg_total_relation_size(oid)), 0) AS size FROM pg_class
WHERE relnamespace = 'launcher'::regnamespace AND relkind = 'r'
