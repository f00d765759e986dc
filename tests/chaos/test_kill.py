"""Agents are killed, stopped and raced for real; every item ends exactly once, and none is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.item import HELD, TERMINAL, Item, ItemFilter, RunState
from launcher.queues.sqlite import SqliteStore
from launcher.runners.keeper import process_started
from tests.conftest import REPOSITORY, Project, until

EVERYTHING = ItemFilter()


@pytest.fixture
def ours(project: Project) -> Iterator[SqliteStore]:
    made = SqliteStore(project.store_url)
    yield made
    made.close()


def endings(store: SqliteStore, item: Item) -> int:
    return sum(event.after in TERMINAL for event in store.events(item.id))


def in_state(store: SqliteStore, *states: RunState) -> list[Item]:
    return list(store.items(ItemFilter(states=frozenset(states))))


def alive(item: Item) -> bool:
    handle = item.handle or {}
    return bool(handle) and process_started(handle["pid"]) == handle["started"]


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=60)


@pytest.mark.timeout(300)
def test_an_agent_killed_in_the_middle_of_the_digits_sweep_loses_and_doubles_nothing(
    project: Project, ours: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LAUNCHER_STORE", project.store_url)
    digits = Project(REPOSITORY)
    assert digits.run("add", "sweeps/digits.yaml").code == 0
    first = digits.start("agent", "-j", "2")
    until(lambda: len(in_state(ours, RunState.FINISHED)) >= 4 and len(in_state(ours, RunState.RUNNING)) == 2)
    first.kill()
    end(first)
    orphans = in_state(ours, RunState.RUNNING)

    second = digits.run("agent", "-j", "2", "--drain")

    assert second.code == 0
    assert "items taken over" in second.out
    items = list(ours.items(EVERYTHING))
    assert len(items) == 27
    assert {item.state for item in items} == {RunState.FINISHED}
    assert {endings(ours, item) for item in items} == {1}
    assert len({item.point for item in items}) == 27
    assert all(item.result and 0 < item.result["accuracy"] <= 1 for item in items)
    assert orphans
    assert not any(alive(item) for item in orphans)
    assert {item.attempt for item in items} == {1}, "what still ran was taken over, and started no second time"


def test_two_agents_share_a_sweep_and_run_nothing_twice(project: Project, ours: SqliteStore) -> None:
    project.write("program.py", "import os; open('ran', 'a').write(os.environ['WANDB_RUN_ID'] + '\\n')")
    project.run("add", "-m", "seed=range(60)", "--", "python", "program.py")
    agents = [project.start("agent", "-j", "2", "--drain") for _ in range(2)]
    for agent in agents:
        end(agent)
    items = list(ours.items(EVERYTHING))
    ran = Counter((project.folder / "ran").read_text().split())
    assert ran == Counter(item.id for item in items)
    assert len(ran) == 60
    assert {item.state for item in items} == {RunState.FINISHED}
    assert len({event.actor for item in items for event in ours.events(item.id)}) == 2


def test_ctrl_c_once_waits_for_what_runs_and_takes_nothing_new(project: Project, ours: SqliteStore) -> None:
    project.write("program.py", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n")
    project.run("add", "-m", "seed=range(3)", "--", "python", "program.py")
    agent = project.start("agent")
    until(lambda: in_state(ours, RunState.RUNNING))
    agent.send_signal(signal.SIGINT)
    assert agent.stdout is not None
    until(lambda: "waiting for what runs" in agent.stdout.readline())
    project.write("go", "")
    end(agent)
    assert agent.returncode == 0
    assert Counter(item.state for item in ours.items(EVERYTHING)) == {RunState.FINISHED: 1, RunState.PENDING: 2}
    assert ours.agents() == []


def test_ctrl_c_twice_stops_what_runs_and_puts_it_back(project: Project, ours: SqliteStore) -> None:
    project.run("add", "-m", "seed=range(3)", "--", "sh", "-c", "sleep 1000")
    agent = project.start("agent", "-j", "2")
    running = until(lambda: len(found := in_state(ours, RunState.RUNNING)) == 2 and found)
    agent.send_signal(signal.SIGINT)
    assert agent.stdout is not None
    until(lambda: "waiting for what runs" in agent.stdout.readline())
    agent.send_signal(signal.SIGINT)
    end(agent)
    items = list(ours.items(EVERYTHING))
    assert {item.state for item in items} == {RunState.PENDING}
    assert sorted(item.attempt for item in items) == [0, 1, 1]
    assert not any(alive(item) for item in running)


def test_cancelling_ends_a_run_and_its_children(project: Project, ours: SqliteStore) -> None:
    project.run("add", "--sweep", "s", "--", "sh", "-c", "sleep 1000 & echo $! > child; wait")
    agent = project.start("agent", "--drain")
    until(lambda: (project.folder / "child").is_file() and (project.folder / "child").read_text().strip())
    child = int((project.folder / "child").read_text())
    started = process_started(child)
    assert started
    assert project.run("cancel", "s").out == "0 waiting cancelled, 1 running being stopped\n"
    end(agent)
    [item] = ours.items(EVERYTHING)
    assert item.state is RunState.CANCELLED
    until(lambda: process_started(child) != started, "the child's end")
    assert "1 queued again" in project.run("retry", "s").out
    [item] = ours.items(EVERYTHING)
    assert item.state is RunState.PENDING


AGENT = """
import sys
from pathlib import Path
from launcher.agent import Agent
from launcher.queues import open_store
Agent(open_store(sys.argv[1]), Path(sys.argv[2]), drain=True, lease_seconds=float(sys.argv[3]),
      listen=lambda event: print(event.kind, event.text, flush=True)).run()
"""


def start_agent(project: Project, lease_seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", AGENT, project.store_url, f"{project.folder}/.launcher", str(lease_seconds)]
    return subprocess.Popen(command, cwd=project.folder, text=True, stdout=subprocess.PIPE)


def test_a_paused_agent_that_wakes_late_cannot_report_a_stale_result(project: Project, ours: SqliteStore) -> None:
    project.write(
        "program.py",
        "import launcher, os, time\n"
        "attempt = int(os.environ['LAUNCHER_ATTEMPT'])\n"
        "while attempt == 1 and not os.path.exists('go'): time.sleep(0.01)\n"
        "launcher.report(attempt=attempt)\n",
    )
    project.run("add", "--", "python", "program.py")
    paused = start_agent(project, lease_seconds=1.0)
    until(lambda: in_state(ours, RunState.RUNNING))
    os.kill(paused.pid, signal.SIGSTOP)
    try:
        until(lambda: ours.release(ours.agents()[0].id, "silent"), "the loss of the lease")
        other = start_agent(project, lease_seconds=60.0)
        end(other)
    finally:
        os.kill(paused.pid, signal.SIGCONT)
    project.write("go", "")
    end(paused)
    [item] = ours.items(EVERYTHING)
    assert (item.state, item.attempt, item.result) == (RunState.FINISHED, 2, {"attempt": 2})
    assert endings(ours, item) == 1


def test_an_adder_killed_in_the_middle_leaves_nothing_behind(project: Project, ours: SqliteStore) -> None:
    adder = project.start("add", "-m", "seed=range(5000)", "--", "true")
    until(lambda: opens_store(adder.pid, project), "the opened store")
    adder.kill()
    end(adder)
    assert list(ours.items(EVERYTHING)) == []
    assert ours.sweeps() == []
    assert project.run("add", "--sweep", "s", "-m", "seed=1,2", "--", "true").code == 0
    assert len(list(ours.items(EVERYTHING))) == 2


def opens_store(pid: int, project: Project) -> bool:
    store = str(project.folder / ".launcher/store.db")
    try:
        return any(str(file.readlink()) == store for file in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # a file that was closed meanwhile
        return False


def test_the_held_states_are_those_an_agent_loses() -> None:
    assert frozenset({RunState.LEASED, RunState.RUNNING}) == HELD
