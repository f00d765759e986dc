"""A program of a sweep: it tells W&B which point it was given, and how good that is."""

import wandb

run = wandb.init()
run.summary["score"] = run.config["lr"] * run.config["size"]
wandb.finish()
