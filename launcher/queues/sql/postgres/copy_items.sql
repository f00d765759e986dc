COPY items (
    seq, id, queue, sweep, priority, name, shape, leaves, point, max_attempts, added_at, changed_at, expires_at, needs
) FROM STDIN (FORMAT BINARY)
