-- As an array: of a join the planner may think that all IDs are better read at once.
SELECT id FROM identities WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text(%(ids)s::jsonb)))
