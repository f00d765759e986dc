INSERT INTO job_aliases (name, alias, number)
SELECT name, :alias, number FROM jobs WHERE name = :name AND number = :number
ON CONFLICT (name, alias) DO UPDATE SET number = excluded.number
