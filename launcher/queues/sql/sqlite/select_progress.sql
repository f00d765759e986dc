-- How many runs have ended, how long they took on average, how many of them ended since a moment.
SELECT count(*) AS ended, avg(finished_at - started_at) AS seconds,
    coalesce(sum(CASE WHEN finished_at >= :since THEN 1 ELSE 0 END), 0) AS lately
FROM items WHERE {where} AND state IN ('finished', 'failed') AND started_at IS NOT NULL
