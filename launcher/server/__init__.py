"""W&B's protocol over our stores (extra `server`): `create_app` makes the application that `launcher serve` runs. Its
modules: app (HTTP), execution (GraphQL), graph (which function answers what), access (users and keys), and one for each
kind of thing: queues, items, agents, runs, artifacts."""
