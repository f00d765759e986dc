-- What waits is passed over until it is resumed.
UPDATE items SET hold = 'paused', not_before = NULL WHERE state = 'pending' AND hold IS NOT 'paused' AND {where}
