COPY staged_items (
    id, given, queue, sweep, priority, name, point, shape, leaves, fingerprint, max_attempts, expires_in, needs
) FROM STDIN
