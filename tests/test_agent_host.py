"""What an agent sees of its machine: who has died, which folders can be written; and a keeper whose agent is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.agent.host import describe, died_here, unusable
from launcher.agent.neighbours import Neighbours
from launcher.agent.strays import end_strays
from launcher.item import AgentInfo, QueueInfo
from launcher.queues.sqlite import SqliteStore
from launcher.runners import keeper
from launcher.runners.keeper import process_lives, process_started
from launcher.runners.local_process import LocalProcess
from tests.conftest import until
from tests.queues.steps import spec


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as started:
        yield started
        started.kill()


def agent_in(process: subprocess.Popen[bytes]) -> AgentInfo:
    return replace(describe((), 1, {}), pid=process.pid, process_started=process_started(process.pid))


def test_an_agent_whose_process_was_killed_has_died_though_nobody_waits_for_it(
    process: subprocess.Popen[bytes],
) -> None:
    found = agent_in(process)
    assert not died_here(found)
    process.kill()
    until(lambda: died_here(found), "the zombie's recognition")
    assert process_started(process.pid) == found.process_started, "it is a zombie still"


def test_an_agent_whose_number_another_process_has_now_has_died(process: subprocess.Popen[bytes]) -> None:
    found = agent_in(process)
    assert died_here(replace(found, process_started=found.process_started - 1))


def test_an_agent_of_another_machine_of_the_same_name_is_left_alone(process: subprocess.Popen[bytes]) -> None:
    found = agent_in(process)
    name, boot, namespace = found.host.split("/")
    process.kill()
    elsewhere = replace(found, host=f"{name}/{boot[::-1]}/{namespace}", process_started=1.0)
    assert not died_here(elsewhere)


def test_a_folder_that_can_be_written_is_usable(tmp_path: Path) -> None:
    assert unusable(tmp_path / "runs") is None
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_below_a_file_is_not_usable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert unusable(tmp_path / "file/runs") == f"{tmp_path}/file/runs cannot be written: Not a directory"


def test_processes_that_nobody_has_a_lease_for_are_ended_but_not_those_of_other_stores(
    store: SqliteStore, tmp_path: Path
) -> None:
    [left, kept] = store.push(None, [spec(), spec()]).ids
    lease = next(lease for lease in store.pop("agent", ["default"], 2) if lease.item.id == kept)
    processes = {
        name: run_of(tmp_path, item, token)
        for name, item, token in (("left", left, "gone"), ("kept", kept, lease.token), ("other", "unknown", "theirs"))
    }
    try:
        assert end_strays(store, LocalProcess(lambda: None), tmp_path, ()) == 1
        assert processes["left"].wait(60) == -signal.SIGKILL
        assert processes["kept"].poll() is processes["other"].poll() is None
        assert end_strays(store, LocalProcess(lambda: None), tmp_path, (), {lease.token}) == 1
        assert processes["kept"].wait(60) == -signal.SIGKILL
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


@pytest.mark.parametrize("served", [True, False])
def test_what_engines_run_for_an_agent_that_died_here_goes_to_one_that_serves_their_queues(
    served: bool, store: SqliteStore, process: subprocess.Popen[bytes]
) -> None:
    process.kill()
    dead, heir = (replace(agent_in(process), id=name) for name in ("dead", "heir"))
    until(lambda: died_here(dead), "its death")
    store.create_queue(QueueInfo("pods", "kubernetes"))
    store.push(None, [spec(queue="pods", resource="kubernetes"), spec()])
    store.register(dead)
    leases = store.pop("dead", ["pods", "default"], 2)
    queues = ["default", "pods"] if served else ["default"]
    left = Neighbours(store, heir, 30.0, lambda _: None).look(queues, 0.0)
    assert {lease.token for _, lease in left} == ({lease.token for lease in leases} if served else set())
    assert set(store.leases("dead" if not served else "heir")) == {lease.token for lease in leases}


def run_of(root: Path, item: str, token: str) -> subprocess.Popen[bytes]:
    marks = {"LAUNCHER_RUN_DIR": f"{root}/{item}/1", "LAUNCHER_LEASE_TOKEN": token}
    return subprocess.Popen(["sleep", "1000"], env={**os.environ, **marks})


@pytest.mark.parametrize("lives", [True, False])
def test_a_keeper_starts_nothing_once_its_agent_is_gone(
    lives: bool, tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    agent = os.getpid() if lives else process.pid
    request = {
        "argv": ["touch", "ran"], "env": dict(os.environ), "cwd": str(tmp_path), "log": str(tmp_path / "log"),
        "token": "t", "exit": str(tmp_path / "exit"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-S", keeper.__file__, str(agent)], input=json.dumps(request) + "\n", text=True,
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "ran").exists() == lives
    assert bool(done.stdout) == lives
    assert process_lives(process.pid, process_started(process.pid))
