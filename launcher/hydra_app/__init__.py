"""Hydra's multirun on queues. The plugin in `launcher/_hydra` calls `launching.Multirun`, in the process of whoever
adds, and `launcher add --app` a part of it; each run is the app itself, started by `job`, which does what Hydra's own
launcher does for it, and imports little."""
