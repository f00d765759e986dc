sweep = :sweep
