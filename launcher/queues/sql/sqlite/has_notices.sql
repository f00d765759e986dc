SELECT EXISTS (
    SELECT 1 FROM notices WHERE state IN ('due', 'sending') AND due_at <= :now
) AS waiting
