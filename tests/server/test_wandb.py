"""W&B's released clients, unchanged, against our server: each call of the client, the command line and the agent that
the protocol's list names, with the newest release and with 0.18.0."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.item import AgentInfo, ItemFilter, JobVersion, RunState
from launcher.outcome import Failed, Finished
from tests.conftest import until
from tests.server.conftest import CLIENTS, Served, Wandb
from tests.services import Docker

AGENT = AgentInfo("ours", "here", 1, 0.0, (), 1, 0.0, 0.0)
TEMPLATE = {"env": {"SIZE": "{{size}}"}, "cpus": "{{cpus}}"}
SWEEP = """mutation S { upsertSweep(input: {entityName: "team", projectName: "demo",
config: "{method: grid, parameters: {lr: {values: [1, 2]}}}"}) { sweep { id name } } }"""
OVER = 'mutation O($id: ID!) { upsertSweep(input: {id: $id, state: "FINISHED"}) { sweep { state } } }'
BAD_VARIABLES = "template_variables.cpus: 0 is less than the minimum of 1"


def test_launch_add_and_the_queue_api(wandb: Wandb, served: Served) -> None:
    told = wandb.python("launching.py", served)
    waiting = [item.id for item in served.store.items(ItemFilter(queue="team/default"))]
    assert [told["default"], told["default again"]] == waiting
    assert told["queue"] == ["local-container", {"resource_args": {"local-container": TEMPLATE}}, "V0", "PROJECT"]
    assert told["variables"] == {"size": {"type": "string"}, "cpus": {"type": "integer", "minimum": 1}}
    assert (told["state"], told["items"], told["items after deletion"]) == ("pending", [told["run"]], [])
    assert BAD_VARIABLES in told["bad variables"]
    assert told["unknown queue"] == "LaunchError: Error adding run to queue"
    assert told["disabled"] == "LaunchError: Error adding run to queue"
    assert "CommError" in told["other entity"]
    assert told.get("upserted", True) in (True, {"resource_args": {"local-container": {"env": {"A": "1"}}}})
    assert [queue.name for queue in served.store.queues()] == ["default", "team/default"]


def test_a_pushed_spec_is_rendered_and_kept_whole(wandb: Wandb, served: Served) -> None:
    served.data(
        """mutation M($c: JSONString!, $v: JSONString) { upsertRunQueue(input: {entityName: "team", projectName: "p",
        queueName: "gpu", resourceType: "local-container", resourceConfig: $c, templateVariables: $v,
        prioritizationMode: V0}) { success configSchemaValidationErrors } }""",
        c='{"env": {"SIZE": "{{size}}"}}',
        v='{"size": {"schema": {"type": "string"}}}',
    )
    arguments = [
        "-q",
        "gpu",
        "-e",
        "team",
        "-p",
        "demo",
        "-d",
        "image:1",
        "--set-var",
        "size=big",
        "--priority",
        "high",
    ]
    told = wandb.cli(served, "launch", *arguments, "--name", "named")
    assert "Added run to queue gpu" in told
    (item,) = served.store.items(ItemFilter(queue="gpu"))
    document = served.store.document(item.id)
    assert (item.priority, item.name) == (1, "named")
    assert document["resource_args"] == {"local-container": {"env": {"SIZE": "big"}}}
    assert (document["entity"], document["project"], document["author"]) == ("team", "demo", "ann")


@pytest.mark.parametrize("outcome", [Finished({"accuracy": 0.9}), Failed("run", "exit code 1", 1)])
def test_a_client_waits_for_a_run_of_our_agents_to_its_end(
    outcome: Finished | Failed, wandb: Wandb, served: Served, tmp_path: Path
) -> None:
    script = [str(wandb.programs / "python"), str(CLIENTS / "waiting.py"), str(tmp_path / "id")]
    process = subprocess.Popen(script, env=served.environment(), stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    until(lambda: (tmp_path / "id").exists() and (tmp_path / "id").read_text(), "the client's push")
    served.store.register(AGENT)
    (lease,) = served.store.pop(AGENT.id, ["team/default"], 1)
    served.store.ack([(lease, {"pid": 1}, str(tmp_path))])
    served.store.finish([(lease, outcome)])
    told, _ = process.communicate(timeout=90)
    state = "finished" if isinstance(outcome, Finished) else "failed"
    assert f'"state": "{state}"' in told.splitlines()[-1]
    assert ('"accuracy": 0.9' in told) == isinstance(outcome, Finished)


def test_jobs_are_created_by_the_command_line_and_run_by_reference(
    wandb: Wandb, served: Served, tmp_path: Path
) -> None:
    where = ["-p", "demo", "-e", "team"]
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("print(1)\n")
    (code / "requirements.txt").write_text("wandb\n")
    assert "Created job" in wandb.cli(served, "job", "create", *where, "-n", "box", "-a", "best", "image", "box:1")
    again = wandb.cli(served, "job", "create", *where, "-n", "box", "image", "box:1")
    assert ("No changes detected" in again) == (wandb.version == "newest")  # 0.18 makes another file each time
    assert "Created job" in wandb.cli(
        served, "job", "create", *where, "-n", "code", "-E", "python train.py", "code", str(code)
    )
    jobs = {job.name: job for job in served.store.jobs()}
    image = next(job for job in jobs.values() if job.kind == "image")
    assert image.source["docker"] == {"docker_image": "box:1"}
    assert {"latest", "best"} <= set(image.aliases)
    assert [job.entry_point for job in jobs.values() if job.kind == "code"] == [("python", "train.py")]
    told = wandb.python("jobs.py", served, f"{image.name}:best")
    assert told["source"]["image"] == "box:1"
    assert "no job named 'team/demo/none'" in told["missing"]
    document = served.store.document(told["run"])
    assert (document["job"], document["docker"]) == (image.reference, {"docker_image": "box:1"})


def test_jobs_of_ours_are_artifacts_to_a_client(wandb: Wandb, served: Served) -> None:
    kept = served.store.keep_job(JobVersion("team/demo/ours", "image", {"docker": {"docker_image": "box:2"}}))
    told = wandb.python("jobs.py", served, "team/demo/ours:latest")
    assert told["source"]["image"] == "box:2"
    assert served.store.document(told["run"])["job"] == kept.reference
    assert "box:2" in wandb.cli(served, "job", "describe", "team/demo/ours:v0")


@pytest.mark.parametrize(("code", "state"), [(0, "finished"), (3, "failed")])
def test_a_program_that_calls_wandb_init_is_kept(code: int, state: str, wandb: Wandb, served: Served) -> None:
    script = [str(wandb.programs / "python"), str(CLIENTS / "training.py"), str(code), "k3x9a1b2"]
    subprocess.run(script, env=served.environment(), cwd=served.folder, check=False, capture_output=True, timeout=90)
    told = wandb.python("reading.py", served, "team/demo/k3x9a1b2")
    assert (told["state"], told["config"]["lr"], told["summary"]["best"]) == (state, 0.1, 0.5)
    assert told["losses"] == [1, 0.5, 1 / 3]
    assert {"config.yaml", "output.log", "wandb-metadata.json", "wandb-summary.json"} <= set(told["files"])
    record = served.store.record("run", "team/demo/k3x9a1b2")
    assert record
    assert record.value["exit_code"] == code
    log = (served.folder / "server/runs/team/demo/k3x9a1b2/output.log").read_text()
    assert "trained k3x9a1b2" in log


WRAPPER = """#!/bin/sh
# Docker as it is, but a container sees this machine's network and Python: the images of the tests have neither.
if [ "$1" = run ]; then shift; exec {docker} run --network host {mounts} "$@"; fi
exec {docker} "$@"
"""


def _mounts(*folders: Path) -> str:
    mounted = [Path("/usr"), Path("/lib"), Path("/lib64"), Path(sys.base_prefix), Path(sys.prefix), *folders]
    return " ".join(f"-v {folder}:{folder}:ro" for folder in dict.fromkeys(mounted) if folder.exists())


def test_the_agent_executes_containers_to_the_end(wandb: Wandb, served: Served, docker: Docker, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    wrapper = programs / "docker"
    wrapper.write_text(WRAPPER.format(docker=shutil.which("docker"), mounts=_mounts(CLIENTS)))
    wrapper.chmod(0o755)
    command = [str(wandb.programs / "python"), str(CLIENTS / "training.py"), "0"]
    docker.image("training:1", f"CMD {json.dumps(command)}")
    add = ["launch", "-q", "default", "-e", "team", "-p", "demo", "-d", "training:1"]
    made = served.data(SWEEP)["upsertSweep"]["sweep"]
    served.data(OVER, id=made["id"])
    wandb.cli(served, *add, "-c", json.dumps({"sweep_id": made["name"]}))
    wandb.cli(served, *add)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    refused, training = served.store.items(ItemFilter(queue="team/default"))

    def state(item_id: str) -> RunState:
        return next(served.store.items(ItemFilter(ids=(item_id,)))).state

    with wandb.agent(served, "default", 2, PATH=path) as log:
        until(lambda: state(refused.id) is RunState.FAILED, "the item of a sweep that is over")
        until(lambda: state(training.id) is RunState.FINISHED, "the training")
    failed, finished = served.store.items(ItemFilter(queue="team/default"))
    assert f"sweep ({made['name']}) was in a terminal state" in str(failed.reason), log.read_text()
    assert (finished.result or {})["best"] == 0.5
    notes = served.store.record("item", failed.id)
    assert notes
    assert notes.value["files"]
    assert "trained" in (Path(str(finished.run_dir)) / "output.log").read_text()
