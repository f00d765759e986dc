"""Runs share a machine's CPUs, memory and GPUs: what an agent starts together, and what each run sees."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.item import ItemFilter, RunState
from launcher.queues import open_store
from tests.conftest import Project, Result, until

Cli = Callable[..., Result]

PROGRAM = """\
import launcher, os, sys
told = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")}
launcher.report(**told)
"""

MEETS = """\
# Every run is one of two that must be there together: alone, it would wait for ever.
import os, sys, time
name = os.environ["WANDB_RUN_ID"]
open(f"here-{name}", "w").close()
while len([file for file in os.listdir(".") if file.startswith("here-")]) < 2: time.sleep(0.01)
"""


@pytest.fixture
def gpus(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as nvidia-smi says."""
    program = project.write("bin/nvidia-smi", "#!/bin/sh\necho 0\necho 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def added(cli: Cli, project: Project, asked: str, *grid: str, program: str = PROGRAM) -> None:
    project.write("program.py", program)
    project.write("conf/launch/asks.yaml", f"resource_args: {{local-process: {asked}}}\n")
    done = cli("add", "--sweep", "s", "-m", "+launch=asks", *grid, "--", "python", "program.py")
    assert done.code == 0, done.err


def results(cli: Cli) -> list[dict[str, str | None]]:
    return [item["result"] for item in json.loads(cli("status", "s", "--json").out)]


@pytest.mark.usefixtures("gpus")
def test_each_run_gets_gpus_of_its_own_and_its_number_of_threads(cli: Cli, project: Project) -> None:
    added(cli, project, "{gpus: 1, cpus: 0.5}", "seed=1,2", program=MEETS + PROGRAM)
    assert cli("agent", "--drain", "-j", "4").code == 0
    found = results(cli)
    assert {told["CUDA_VISIBLE_DEVICES"] for told in found} == {"0", "1"}
    assert {told["OMP_NUM_THREADS"] for told in found} == {"1"}


@pytest.mark.usefixtures("gpus")
def test_parts_of_a_gpu_run_together_on_one(cli: Cli, project: Project) -> None:
    added(cli, project, "{gpus: 0.5}", "seed=1,2", program=MEETS + PROGRAM)
    assert cli("agent", "--drain", "-j", "4").code == 0
    assert {told["CUDA_VISIBLE_DEVICES"] for told in results(cli)} == {"0"}


def test_runs_that_do_not_fit_together_run_one_after_another(cli: Cli, project: Project) -> None:
    alone = "import os\nos.mkdir('lock')\nos.rmdir('lock')\n"
    added(cli, project, "{cpus: 1.5}", "seed=range(6)", program=alone)
    assert cli("agent", "--drain", "-j", "4", "--cpus", "2").code == 0
    assert cli("status", "s").out.splitlines()[-1] == "6 finished"


def test_a_limit_is_kept_over_all_agents(cli: Cli, project: Project) -> None:
    project.write("conf/launch/asks.yaml", "limits: {licence: 1}\n")
    project.write("program.py", "import os\nos.mkdir('lock')\nos.rmdir('lock')\n")
    assert cli("add", "--sweep", "s", "-m", "+launch=asks", "seed=range(8)", "--", "python", "program.py").code == 0
    agents = [project.start("agent", "--drain", "-j", "4") for _ in range(2)]
    assert [agent.wait(60) for agent in agents] == [0, 0]
    for agent in agents:
        agent.communicate()
    assert cli("status", "s").out.splitlines()[-1] == "8 finished"


@pytest.mark.usefixtures("gpus")
def test_what_fits_no_agent_fails_early_with_the_reason(cli: Cli, project: Project) -> None:
    added(cli, project, "{gpus: 3}")
    assert cli("agent", "--drain").code == 0
    [item] = json.loads(cli("status", "s", "--json").out)
    assert (item["state"], item["stage"], item["attempt"]) == ("failed", "prepare", 0)
    assert "asks for more than any agent of queue 'default' has" in item["reason"]
    assert "2 GPUs" in item["reason"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("{gpus: 1.5}", "resource_args.local-process.gpus: 1.5"),
        ("{memory: 5X}", "resource_args.local-process.memory: '5X'"),
        ("{cpus: -1}", "resource_args.local-process.cpus: -1"),
        ("{gpu: 1}", "gpu"),
    ],
)
def test_what_is_no_amount_is_refused_when_added(cli: Cli, project: Project, asked: str, told: str) -> None:
    project.write("conf/launch/asks.yaml", f"resource_args: {{local-process: {asked}}}\n")
    done = cli("add", "+launch=asks", "--", "true")
    assert done.code == 1
    assert told in done.err
    assert "Traceback" not in done.err


def test_an_agent_that_has_too_little_leaves_an_item_to_one_that_has_more(cli: Cli, project: Project) -> None:
    added(cli, project, "{cpus: 4}")
    store = open_store(project.store_url)
    large = project.start("agent", "--cpus", "4", "-q", "default")
    until(lambda: list(store.items(ItemFilter(states=frozenset({RunState.FINISHED})))))
    added(cli, project, "{cpus: 3}", "seed=7", program="pass\n")
    small = cli("agent", "--cpus", "1", "--drain")
    assert "failed" not in small.out
    until(lambda: len(list(store.items(ItemFilter(states=frozenset({RunState.FINISHED}))))) == 2)
    large.terminate()
    large.communicate(timeout=60)
    store.close()


def test_what_only_an_agent_had_room_for_that_was_stopped_waits_for_it(cli: Cli, project: Project) -> None:
    added(cli, project, "{cpus: 4}", program="pass\n")
    assert cli("queue", "pause", "default").code == 0
    paused = cli("agent", "--cpus", "4", "--drain")
    assert paused.out == "1 item waits still: 1 in a paused queue; launcher queue resume default\n"
    assert cli("queue", "resume", "default").code == 0
    small = cli("agent", "--cpus", "1", "--drain")
    assert "failed" not in small.out
    assert "1 item waits still: 1 that this agent cannot run" in small.out
    large = cli("agent", "--cpus", "4", "--drain")
    assert cli("status", "s").out.splitlines()[-1] == "1 finished", large.out


@pytest.mark.usefixtures("gpus")
def test_a_second_agent_that_gives_out_the_same_gpus_says_so(cli: Cli, project: Project) -> None:
    store = open_store(project.store_url)
    first = project.start("agent")
    until(store.agents)
    [known] = store.agents()
    assert f"agent {known.id} of this machine gives its runs GPUs, too" in cli("agent", "--drain").out
    assert "GPUs" not in cli("agent", "--drain", "--gpus", "1").out
    first.terminate()
    first.communicate(timeout=60)
    assert "GPUs" not in cli("agent", "--drain").out
    store.close()


def test_an_agent_that_stays_waits_for_one_with_more_room(cli: Cli, project: Project) -> None:
    added(cli, project, "{cpus: 4}", program="pass\n")
    store = open_store(project.store_url)
    small = project.start("agent", "--cpus", "1")
    until(store.agents)
    until(lambda: "no agent with room for it" in cli("show", next(iter(store.items(ItemFilter()))).id).out)
    large = cli("agent", "--cpus", "4", "--drain")
    assert cli("status", "s").out.splitlines()[-1] == "1 finished", large.out
    small.terminate()
    small.communicate(timeout=60)
    store.close()


def test_a_run_is_taken_over_with_its_gpus(project: Project, cli: Cli, gpus: None, tmp_path: Path) -> None:
    waits = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
    added(cli, project, "{gpus: 1}", "seed=range(3)", program=waits + PROGRAM)
    store = open_store(project.store_url)
    running = ItemFilter(states=frozenset({RunState.RUNNING}))
    first = project.start("agent", "-j", "1")
    until(lambda: list(store.items(running)))
    first.kill()
    first.communicate()
    second = project.start("agent", "-j", "4", "--drain")
    until(lambda: len(list(store.items(running))) == 2)
    taken = [item.handle["gpus"] for item in store.items(running) if item.handle]
    project.write("go", "")
    assert second.wait(60) == 0
    second.communicate()
    store.close()
    assert sorted(taken) == [["0"], ["1"]]
    assert [told["CUDA_VISIBLE_DEVICES"] for told in results(cli)][:2] == ["0", "1"]
