COPY identities (item, id, sweep, fingerprint) FROM STDIN (FORMAT BINARY)
