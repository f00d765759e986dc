SELECT number FROM jobs WHERE name = :name AND digest = :digest
