UPDATE items SET hold = NULL, not_before = NULL
WHERE state = 'pending' AND hold IN ('paused', 'failures') AND {where}
