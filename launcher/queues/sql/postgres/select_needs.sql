SELECT asked, id FROM needs WHERE asked IN (SELECT jsonb_array_elements_text(%(asked)s::jsonb))
