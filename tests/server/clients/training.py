"""A program that W&B follows: config, history, summary, console lines, and the exit code that it is told."""

import sys

import wandb

run = wandb.init(project="demo", entity="team", config={"lr": 0.1}, id=sys.argv[2] if len(sys.argv) > 2 else None)
for step in range(3):
    wandb.log({"loss": 1 / (step + 1)})
print("trained", run.id)  # noqa: T201 - what W&B keeps as the console log
run.summary["best"] = 0.5
wandb.finish(exit_code=int(sys.argv[1]))
