seq IN (SELECT jsonb_array_elements_text(%(seqs)s::jsonb)::bigint)
