SELECT EXISTS (SELECT 1 FROM items WHERE sweep = :sweep) AS begun
