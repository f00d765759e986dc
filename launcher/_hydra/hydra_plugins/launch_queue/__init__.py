"""What Hydra finds of launcher: the launcher `launch_queue` and the sweeper `launch_grid`. Every Hydra app imports
this, so nothing here imports `launcher` before a sweep is launched by it."""
