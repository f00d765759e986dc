INSERT INTO staged_items (id, given, queue, sweep, priority, name, base, difference, point, fingerprint)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
