"""The web page of `launcher serve` (extra `server`): a group of routes beside W&B's protocol. Its modules: routes
(HTTP), sessions (who looks, and may they), reader (what is read of the store, and how often), live (server-sent
events), and one for each kind of page: overview, sweep with its grid, item with its config, logs, plots, actions."""
