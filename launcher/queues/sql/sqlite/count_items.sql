SELECT queue, nullif(sweep, '') AS sweep, state, number FROM counts WHERE number > 0
