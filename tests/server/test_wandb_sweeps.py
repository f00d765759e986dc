"""Sweeps by W&B's released programs against our server: `wandb launch-sweep` with its scheduler and agent, `wandb
sweep` with `wandb agent`; processes as their users start them, with the newest release and with 0.18.0."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from launcher.item import ItemFilter, JobVersion, RunState
from launcher.spec import Source
from tests.conftest import until
from tests.server.conftest import CLIENTS, Served, Wandb
from tests.server.elsewhere import Machine
from tests.sources.repositories import commit, git

GRID = {"lr": {"values": [0.1, 0.2]}, "size": {"values": [1, 2]}}
POINTS = [(0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)]
METRIC = {"name": "score", "goal": "maximize"}
QUEUE = """mutation Q { createRunQueue(input: {entityName: "team", projectName: "p", queueName: "local",
access: PROJECT, defaultResourceConfigID: $config}) { success queueID } }"""
CONFIG = """mutation C { createDefaultResourceConfig(input: {entityName: "team", resource: "local-process",
config: "{}"}) { defaultResourceConfigID } }"""
SWEEP = """query S($name: String!) { project(entityName: "team", name: "demo") { sweep(sweepName: $name) {
id state runCount runCountExpected runs { edges { node { name state config summaryMetrics sweepName } } } } } }"""


def sweep(served: Served, name: str) -> Any:
    return served.data(SWEEP, name=name)["project"]["sweep"]


def points(served: Served, name: str) -> list[tuple[float, int]]:
    """The points that the runs of a sweep say they were given."""
    nodes = [edge["node"] for edge in sweep(served, name)["runs"]["edges"]]
    configs = [json.loads(node["config"]) for node in nodes]
    return sorted((config["lr"]["value"], config["size"]["value"]) for config in configs)


@pytest.fixture
def job(wandb: Wandb, served: Served, tmp_path: Path) -> str:
    """A queue for local processes, and a job for it: the program of `clients/sweeping.py`."""
    config = served.data(CONFIG)["createDefaultResourceConfig"]["defaultResourceConfigID"]
    served.data(QUEUE.replace("$config", json.dumps(config)))
    code = tmp_path / "code"
    code.mkdir()
    shutil.copy(CLIENTS / "sweeping.py", code / "sweeping.py")
    (code / "requirements.txt").write_text("wandb\n")
    create = ["job", "create", "-p", "demo", "-e", "team", "-n", "train", "-E", "python sweeping.py", "code", str(code)]
    wandb.cli(served, *create)
    (made,) = served.store.jobs()  # 0.18 calls it job-code-train_v0
    return f"{made.name}:latest"


def launched(wandb: Wandb, served: Served, folder: Path, **config: Any) -> str:
    """The ID of a sweep that `wandb launch-sweep` made, its scheduler queued."""
    file = folder / "sweep.json"
    file.write_text(json.dumps(config))
    told = wandb.cli(served, "launch-sweep", "-e", "team", "-p", "demo", "-q", "local", str(file))
    assert "Scheduler added to launch queue (local)" in told
    found = re.search(r"Created sweep with ID: (?:\x1b\[\d+m)*([a-z0-9]{8})", told)
    assert found, told
    return found[1]


def test_a_launched_grid_runs_each_point_once_and_is_finished(
    wandb: Wandb, served: Served, job: str, tmp_path: Path
) -> None:
    name = launched(wandb, served, tmp_path, method="grid", parameters=GRID, job=job, metric=METRIC)
    assert sweep(served, name)["state"] == "PENDING"
    with wandb.agent(served, "local", 4):
        until(lambda: sweep(served, name)["state"] == "FINISHED", "the end of the sweep")
        scheduler = served.store.item(name)
        until(lambda: served.store.item(scheduler.id).state is RunState.FINISHED, "the end of its scheduler")
    told = sweep(served, name)
    assert (told["runCount"], told["runCountExpected"]) == (4, 4)
    assert points(served, name) == POINTS
    items = list(served.store.items(ItemFilter(sweep=name)))
    assert [item.state for item in items] == [RunState.FINISHED] * 4
    assert sorted(item.result["score"] for item in items if item.result) == [0.1, 0.2, 0.2, 0.4]
    (ours,) = [each for each in served.store.sweeps() if each.name == name]
    assert (ours.metric, ours.goal) == ("score", "maximize")


def test_a_launched_grid_is_scheduled_and_run_by_an_agent_of_ours(wandb: Wandb, served: Served, tmp_path: Path) -> None:
    config = served.data(CONFIG)["createDefaultResourceConfig"]["defaultResourceConfigID"]
    served.data(QUEUE.replace("$config", json.dumps(config)))
    (tmp_path / "code").mkdir()
    git(tmp_path / "code", "init", "--quiet")
    head = commit(tmp_path / "code", (CLIENTS / "sweeping.py").read_text(), "sweeping.py")
    source = Source(repo=f"file://{tmp_path}/code", commit=head).fields()
    served.store.keep_job(JobVersion("team/demo/train", "git", source, ("python", "sweeping.py")))
    name = launched(wandb, served, tmp_path, method="grid", parameters=GRID, job="team/demo/train:latest")
    far = Machine(tmp_path / "far")
    path = f"{wandb.programs}{os.pathsep}{os.environ['PATH']}"
    far.start(served.url, served.keys["ann"], "--queue", "local", "--max-jobs", "4", PATH=path)
    try:
        until(lambda: sweep(served, name)["state"] == "FINISHED", "the end of the sweep")
        until(lambda: served.store.item(name).state is RunState.FINISHED, "the end of its scheduler")
    finally:
        far.close()
    assert points(served, name) == POINTS
    items = list(served.store.items(ItemFilter(sweep=name)))
    assert sorted(item.result["score"] for item in items if item.result) == [0.1, 0.2, 0.2, 0.4]


def made(wandb: Wandb, served: Served, folder: Path, **config: Any) -> str:
    """The ID of a sweep that `wandb sweep` made."""
    file = folder / "sweep.json"
    file.write_text(json.dumps(config))
    told = wandb.cli(served, "sweep", "-e", "team", "-p", "demo", str(file))
    found = re.search(r"Creat\w+ sweep with ID: (?:\x1b\[\d+m)*([a-z0-9]{8})", told)
    assert found, told
    return found[1]


def test_a_sweep_is_paused_cancelled_resumed_and_run_by_wandbs_own_agent(
    wandb: Wandb, served: Served, tmp_path: Path
) -> None:
    shutil.copy(CLIENTS / "sweeping.py", tmp_path / "sweeping.py")
    grid = {"lr": {"value": 0.1}, "size": {"values": [1, 2]}}
    name = made(wandb, served, tmp_path, method="grid", parameters=grid, program="sweeping.py")
    for verb, state in (("--pause", "PAUSED"), ("--cancel", "CANCELED"), ("--resume", "RUNNING")):
        wandb.cli(served, "sweep", verb, f"team/demo/{name}")
        assert sweep(served, name)["state"] == state
    path = f"{wandb.programs}{os.pathsep}{os.environ['PATH']}"
    wandb.cli(served, "agent", f"team/demo/{name}", PATH=path)  # it ends by itself, when nothing is left to run
    assert (sweep(served, name)["state"], points(served, name)) == ("FINISHED", [(0.1, 1), (0.1, 2)])
    assert [edge["node"]["state"] for edge in sweep(served, name)["runs"]["edges"]] == ["finished"] * 2
