-- A push has numbers of its own for its bases and shapes: its turn, and behind it 24 bits.
SELECT nextval('pushes') << 24 AS first_base, currval('pushes') << 24 AS first_shape
