queue = :queue
