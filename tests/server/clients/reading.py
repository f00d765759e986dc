"""What W&B's client reads of a run."""

import json
import sys

import wandb

run = wandb.Api().run(sys.argv[1])
json.dump(
    {
        "state": run.state, "config": dict(run.config), "summary": {"best": run.summary["best"]},
        "losses": [row["loss"] for row in run.history(pandas=False)],
        "files": sorted(file.name for file in run.files()),
    },
    sys.stdout,
)  # fmt: skip
