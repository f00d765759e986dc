state IN ('finished', 'failed', 'cancelled') AND changed_at < :ended_before
