SELECT array_agg(nextval('items_seq_seq')) AS numbers FROM generate_series(1, %(number)s)
