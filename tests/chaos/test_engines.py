"""Agents and engines: a sweep on Slurm without an agent that stays, agents that are killed at any moment, and the same
table of results whatever runs the sweep."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, Project, until
from tests.kubernetes_node import Node
from tests.slurm import SlurmCluster

KEPT = "retry: {max_attempts: 9}\n"
"""Items that an agent had not submitted when it was killed lose an attempt."""

COUNTING = """\
import os, pathlib, time
done = pathlib.Path(os.environ["DONE"])
time.sleep(0.05)
(done / f"{os.environ['WANDB_RUN_ID']}-{os.getpid()}-{time.time_ns()}").touch()
"""


@pytest.fixture
def cluster(project: Project, slurm: SlurmCluster) -> SlurmCluster:
    project.write("train.py", COUNTING)
    (project.folder / "done").mkdir()
    assert project.run("queue", "create", "slurm", "--resource", "slurm").code == 0
    return slurm


def add(project: Project, count: int, engine: str = "slurm") -> None:
    words = ["add", "--queue", engine, "--sweep", "s", "-m", f"seed=range({count})", f"name={project.folder.name}"]
    env = f"+launch.resource_args.{engine}.env={{DONE: {project.folder}/done}}"
    kept = "+launch.retry.max_attempts=9"
    done = project.run(*words, env, kept, f"+launch.resource={engine}", "--", "python", "train.py")
    assert done.code == 0, done.err


def items(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(project.run("status", "s", "--json").out)
    return found


def completed(project: Project) -> Counter[str]:
    return Counter(path.name.partition("-")[0] for path in (project.folder / "done").iterdir())


def ended(project: Project, count: int) -> bool:
    project.run("sync")
    return Counter(item["state"] for item in items(project))["finished"] == count


def test_a_sweep_needs_no_agent_that_stays(project: Project, cluster: SlurmCluster) -> None:
    add(project, 8)
    left = project.run("agent", "--submit-only")
    assert "8 runs go on without an agent; launcher sync collects them" in left.out, left.err
    until(lambda: ended(project, 8), "all results")
    assert project.run("sync").out == "no run goes on\n"
    assert set(completed(project).values()) == {1}
    assert {item["attempt"] for item in items(project)} == {1}


def test_what_was_cancelled_meanwhile_is_cancelled_in_slurm(project: Project, cluster: SlurmCluster) -> None:
    project.write("train.py", "import time; time.sleep(1000)")
    add(project, 3)
    project.run("agent", "--submit-only")
    assert project.run("cancel", "--sweep", "s").code == 0
    until(lambda: project.run("sync").out.endswith("no run goes on\n"), "their ends")
    assert {item["state"] for item in items(project)} == {"cancelled"}
    until(lambda: not cluster.jobs(), "the end of all jobs")


def agents_are_killed(project: Project, count: int) -> None:
    """Agents are killed at any moment, until one may end what `count` items there are."""
    for moment in (0.4, 0.5, 0.6, 0.8, 1.2):
        agent = project.start("agent", "--poll-seconds", "0.2", start_new_session=True)
        try:
            agent.wait(moment + random.random() * 0.2)
        except subprocess.TimeoutExpired:
            os.killpg(agent.pid, signal.SIGKILL)
        agent.communicate()
    last = project.run("agent", "--drain", "--poll-seconds", "0.2")
    assert last.code == 0, last.err
    told = [item for item in items(project) if item["state"] != "finished"]
    assert told == [], project.run("show", told[0]["id"]).out
    assert set(completed(project).values()) == {1}, "none twice"
    assert len(completed(project)) == count


def test_an_agent_killed_at_any_moment_loses_and_doubles_nothing(project: Project, cluster: SlurmCluster) -> None:
    add(project, 30)
    agents_are_killed(project, 30)


def test_an_agent_of_ray_killed_at_any_moment_loses_and_doubles_nothing(project: Project, ray_address: str) -> None:
    project.write("train.py", COUNTING)
    (project.folder / "done").mkdir()
    assert project.run("queue", "create", "ray", "--resource", "ray").code == 0
    add(project, 20, "ray")
    agents_are_killed(project, 20)


def chaos_agent(project: Project, **environ: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.chaos.agent", project.store_url, f"{project.folder}/.launcher", "2", "100"]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("dies", ["after pop 1", "before ack 1", "after ack 1", "before finish 1", "after finish 1"])
def test_an_agent_killed_just_then_loses_and_doubles_nothing(
    project: Project, cluster: SlurmCluster, dies: str
) -> None:
    add(project, 6)
    with chaos_agent(project, CHAOS_DIES=dies) as first:
        assert first.wait(60) == -signal.SIGKILL
    done = project.run("agent", "--drain", "--poll-seconds", "0.2")
    assert done.code == 0, done.err
    assert {item["state"] for item in items(project)} == {"finished"}
    assert set(completed(project).values()) == {1}, "none twice"


def test_an_agent_that_stands_still_on_another_machine_loses_its_runs_to_one_that_does_not(
    project: Project, cluster: SlurmCluster
) -> None:
    project.write(
        "train.py", 'import os, pathlib, time\nwhile not pathlib.Path("go").exists(): time.sleep(0.05)\n' + COUNTING
    )
    add(project, 4)
    with chaos_agent(project, CHAOS_MACHINE="elsewhere") as still, chaos_agent(project) as other:
        assert still.stdout is not None
        assert other.stdout is not None
        until(lambda: Counter(item["state"] for item in items(project))["running"] == 4, "all runs")
        [holder] = {item["agent"] for item in items(project)}
        first, second = (still, other) if still.stdout.readline().strip() == holder else (other, still)
        os.kill(first.pid, signal.SIGSTOP)
        until(lambda: {item["agent"] for item in items(project)} not in ({holder}, {None}), "the takeover")
        os.kill(first.pid, signal.SIGCONT)
        until(lambda: _beaten(project, holder), "the first one to be back")
        [folder] = {Path(item["run_dir"]).parents[1] for item in items(project)}
        assert len(cluster.jobs()) > 0, "nobody cancelled them"
        (project.folder / "go").touch()
        for tree in (folder.parent / "sources" / "trees").glob("*"):
            (tree / "go").touch()
        until(lambda: Counter(item["state"] for item in items(project))["finished"] == 4, "all ends")
        for agent in (first, second):
            agent.terminate()
            agent.communicate()
    assert set(completed(project).values()) == {1}, "none twice"
    assert {item["attempt"] for item in items(project)} == {1}


def _beaten(project: Project, agent: str) -> bool:
    """Whether this agent is heard of again."""
    return agent in {known["id"] for known in json.loads(project.run("status", "--json").out)["agents"]}


def test_a_sweep_on_kubernetes_needs_no_agent_that_stays_nor_a_shared_disk(
    project: Project, kubernetes_node: Node
) -> None:
    assert project.run("queue", "create", "kubernetes", "--resource", "kubernetes").code == 0
    project.write("conf/launch/pods.yaml", "queue_name: kubernetes\nresource: kubernetes\ndocker_image: box:1\n")
    tell = """echo "{\\"seen\\": $(grep -c 'seed: ' "$LAUNCHER_CONFIG")}" > "$LAUNCHER_RESULT" """
    words = ["add", "--sweep", "s", "-m", "+launch=pods", "seed=range(6)", "--", "sh", "-c", tell]
    assert project.run(*words).code == 0
    kubernetes_node.held = True
    left = project.run("agent", "--submit-only")
    assert "6 runs go on without an agent; launcher sync collects them" in left.out, left.err
    assert project.run("cancel", items(project)[0]["id"]).code == 0
    until(lambda: project.run("sync") and items(project)[0]["state"] == "cancelled", "the end of the first")
    kubernetes_node.release()
    until(lambda: ended(project, 5), "all other results")
    results = json.loads(project.run("results", "s", "--json").out)
    assert [row["seen"] for row in results if row["state"] == "finished"] == [1] * 5
    assert {item["attempt"] for item in items(project)} == {1}


def test_an_agent_of_kubernetes_killed_at_any_moment_loses_and_doubles_nothing(
    project: Project, kubernetes_node: Node
) -> None:
    (project.folder / "done").mkdir()
    assert project.run("queue", "create", "kubernetes", "--resource", "kubernetes").code == 0
    project.write("conf/launch/pods.yaml", "queue_name: kubernetes\nresource: kubernetes\ndocker_image: box:1\n" + KEPT)
    script = f'sleep 0.05; touch "{project.folder}/done/$WANDB_RUN_ID-$$-$(date +%N)"'
    words = ["add", "--sweep", "s", "-m", "+launch=pods", "seed=range(20)", "--", "sh", "-c", script]
    assert project.run(*words).code == 0
    agents_are_killed(project, 20)


@pytest.mark.timeout(300)
def test_the_digits_sweep_ends_with_the_same_table_on_process_slurm_and_ray(
    tmp_path: Path, slurm: SlurmCluster, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    here = Project(REPOSITORY)
    tables = []
    for launch in ("local", "slurm", "ray"):
        store = f"sqlite:///{tmp_path}/{launch}/store.db"
        if launch != "local":
            assert here.run("queue", "create", launch, "--resource", launch, "--store", store).code == 0
        sweep = ["sweeps/digits.yaml", f"launch={launch}", "seed=0", "model.regularization=1.0"]
        assert here.run("add", *sweep, "--store", store).code == 0
        agent = here.start("agent", "--drain", "--poll-seconds", "0.5", "--store", store)
        told, errors = agent.communicate(timeout=200)
        assert agent.returncode == 0, (told, errors)
        rows = json.loads(here.run("results", "digits", "--json", "--store", store).out)
        tables.append([_comparable(row) for row in rows])
        assert len(rows) == 3
    assert tables[0] == tables[1] == tables[2]


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("id", "launch") and "seconds" not in name}
