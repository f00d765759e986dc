INSERT INTO staged_items (
    id, given, queue, sweep, priority, name, shape, leaves, point, fingerprint, max_attempts, expires_in, needs
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
