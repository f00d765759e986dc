SELECT id FROM agents WHERE state = 'alive' AND seen_at < :limit
