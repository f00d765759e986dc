-- The next version of a job; nothing where its content is a version already, or another process was faster.
INSERT INTO jobs (name, number, digest, kind, source, entry_point, inputs, author, created_at)
SELECT %(name)s, coalesce(max(number) + 1, 0), %(digest)s, %(kind)s, %(source)s, %(entry_point)s, %(inputs)s,
    %(author)s, %(now)s
FROM jobs WHERE name = %(name)s
ON CONFLICT DO NOTHING
