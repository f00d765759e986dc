SELECT pg_notify('launcher', '')
