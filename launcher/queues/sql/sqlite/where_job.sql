jobs.name = :name
