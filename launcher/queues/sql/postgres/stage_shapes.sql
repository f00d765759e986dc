COPY staged_shapes (number, base, changed, gone) FROM STDIN
