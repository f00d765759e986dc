"""Add a run of a job, and one of a job that there is not; print what came of it."""

import json
import sys

import wandb
from wandb.sdk.launch import launch_add

told = {"run": launch_add(job=sys.argv[1], project="demo", entity="team").id}
try:
    told["missing"] = launch_add(job="team/demo/none:latest", project="demo", entity="team").id
except Exception as error:
    told["missing"] = str(error)
job = wandb.Api().job(sys.argv[1])
told["source"] = job._job_info["source"]
json.dump(told, sys.stdout)
