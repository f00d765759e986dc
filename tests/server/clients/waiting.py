"""Add a run, say which, wait until it has ended, and print what it became."""

import json
import sys
from pathlib import Path

from wandb.sdk.launch import launch_add

run = launch_add(docker_image="image:1", project="demo", entity="team")
Path(sys.argv[1]).write_text(run.id)
done = run.wait_until_finished()
json.dump({"state": done.state, "summary": dict(done.summary), "config": dict(done.config)}, sys.stdout)
