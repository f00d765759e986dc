"""Queues on a W&B server: `store` is what users open; `client` is the connection, `outbox` brings items there exactly
once; `queues`, `records` and `jobs` are verbs of it; `agent`, with `taken`, `ends` and `reports`, is the half for
agents."""
