UPDATE items SET hold = NULL, not_before = NULL WHERE state = 'pending' AND hold = 'backoff' AND not_before <= :now
