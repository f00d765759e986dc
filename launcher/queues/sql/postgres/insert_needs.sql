INSERT INTO needs (asked) SELECT jsonb_array_elements_text(%(asked)s::jsonb) ON CONFLICT DO NOTHING
