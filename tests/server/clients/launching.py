"""What a user of W&B's client does with queues and items; prints what came of it."""

import json
import sys

import wandb
from wandb.sdk.launch import launch_add

told = {"version": wandb.__version__}
api = wandb.Api()
shared = {"project": "demo", "entity": "team"}


def failing(**arguments):
    """The error of a launch_add."""
    try:
        launch_add(**shared, **arguments)
    except Exception as error:  # whatever it is, it is told
        return f"{type(error).__name__}: {error}"
    return "queued"


told["default"] = launch_add(docker_image="image:1", **shared).id
told["default again"] = launch_add(docker_image="image:1", **shared).id
template = {"env": {"SIZE": "{{size}}"}, "cpus": "{{cpus}}"}
variables = {"size": {"schema": {"type": "string"}}, "cpus": {"schema": {"type": "integer", "minimum": 1}}}
queue = api.create_run_queue(
    "gpu", "local-container", "team", prioritization_mode="V0", config=template, template_variables=variables
)
queue = api.run_queue("team", "gpu")
told["queue"] = [queue.type, queue.default_resource_config, queue.prioritization_mode, queue.access]
told["variables"] = {each["name"]: json.loads(each["schema"]) for each in queue.template_variables}
run = launch_add(
    docker_image="image:1", queue_name="gpu", template_variables={"size": "big", "cpus": 2}, priority=1, name="named",
    config={"overrides": {"run_config": {"lr": 0.1}}}, **shared,
)  # fmt: skip
told["run"] = run.id
told["state"] = run.state
told["items"] = [item.id for item in api.run_queue("team", "gpu").items]
told["bad variables"] = failing(docker_image="image:1", queue_name="gpu", template_variables={"size": "s", "cpus": 0})
told["unknown queue"] = failing(docker_image="image:1", queue_name="gpus")
told["disabled"] = failing(docker_image="image:1", priority=1)
told["other entity"] = failing(docker_image="image:1", queue_name="gpu", config={"queue_entity": "lab"})
run.delete()
told["items after deletion"] = [item.id for item in api.run_queue("team", "gpu").items]
if hasattr(api, "upsert_run_queue"):
    api.upsert_run_queue("gpu", {"env": {"A": "1"}}, "local-container", entity="team", external_links={"a": "http://b"})
    told["upserted"] = api.run_queue("team", "gpu").default_resource_config
api.run_queue("team", "gpu").delete()
json.dump(told, sys.stdout)
