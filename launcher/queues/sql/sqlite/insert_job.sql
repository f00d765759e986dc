-- The next version of a job; nothing where its content is a version already, or another process was faster.
INSERT INTO jobs (name, number, digest, kind, source, entry_point, inputs, author, created_at)
SELECT :name, coalesce(max(number) + 1, 0), :digest, :kind, :source, :entry_point, :inputs, :author, :now
FROM jobs WHERE name = :name
ON CONFLICT DO NOTHING
