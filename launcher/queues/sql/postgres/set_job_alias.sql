INSERT INTO job_aliases (name, alias, number)
SELECT name, %(alias)s, number FROM jobs WHERE name = %(name)s AND number = %(number)s
ON CONFLICT (name, alias) DO UPDATE SET number = excluded.number
