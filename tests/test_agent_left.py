"""What agents left that nobody hears any more, on another machine or before this one was started anew: who comes later,
even for one pass, goes on with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher.agent import Agent, AgentEvent
from launcher.item import Lease, RunState
from launcher.paths import RunPaths
from launcher.queues.sqlite import SqliteStore
from launcher.spec import LaunchSpec
from tests.conftest import until
from tests.queues.steps import agent

LEASE_SECONDS = 1.0
DAYS = 2 * 86_400.0


def left(store: SqliteStore, folder: Path) -> Lease:
    """An item that runs, as its agent said two days ago."""
    overrides = {"entry_point": ["true"], "args": [], "run_config": {}}
    store.push(None, [LaunchSpec({"resource": "local-process", "overrides": overrides}, "default", 2, ())])
    ago = time.time() - DAYS
    store.register(agent("friday", host="elsewhere", started_at=ago, seen_at=ago))
    [lease] = store.pop("friday", ["default"], 1)
    paths = RunPaths.of(folder / "runs", lease.item.id, 1)
    paths.create({})
    handle = {"pid": 7, "started": 5.5, "began": ago, "dir": str(paths.folder)}
    assert store.ack([(lease, handle, str(paths.folder))]) == [True]
    return lease


def ends(store: SqliteStore, folder: Path, *, once: bool) -> list[str]:
    """What an agent tells that drains the store, or looks once."""
    told: list[str] = []

    def listen(event: AgentEvent) -> None:
        told.append(event.text)

    worker = Agent(store, folder, drain=not once, lease_seconds=LEASE_SECONDS, listen=listen)
    if once:
        assert worker.pass_once(take=False) == 0
    else:
        assert worker.run()
    return told


@pytest.mark.parametrize("once", [False, True])
def test_a_run_whose_exit_code_lies_there_has_ended_and_is_not_run_again(
    store: SqliteStore, tmp_path: Path, once: bool
) -> None:
    lease = left(store, tmp_path)
    paths = RunPaths.of(tmp_path / "runs", lease.item.id, 1)
    paths.result.write_text('{"a": 1}')
    paths.exit_code.write_text("0\n")
    told = ends(store, tmp_path, once=once)
    item = store.item(lease.item.id)
    assert (item.state, item.attempt, item.result) == (RunState.FINISHED, 1, {"a": 1})
    assert told[0].startswith("agent friday, last heard 48 h 0 m ago, holds 1 items: if it stays silent for 1 s")


def test_what_nobody_can_tell_of_runs_again(store: SqliteStore, tmp_path: Path) -> None:
    lease = left(store, tmp_path)
    ends(store, tmp_path, once=False)
    item = store.item(lease.item.id)
    assert (item.state, item.attempt) == (RunState.FINISHED, 2)


def test_an_agent_that_is_heard_keeps_what_it_has(store: SqliteStore, tmp_path: Path) -> None:
    lease = left(store, tmp_path)
    with beating(store, "friday"):
        ends(store, tmp_path, once=False)
    assert store.item(lease.item.id).state is RunState.RUNNING


@contextmanager
def beating(store: SqliteStore, name: str) -> Iterator[None]:
    """An agent that lives, though its clock, or ours, is days off."""
    over = threading.Event()
    began = threading.Event()

    def beat() -> None:
        other = SqliteStore(store.url)
        while not over.is_set():
            other.heartbeat(name)
            began.set()
            over.wait(LEASE_SECONDS / 10)
        other.close()

    thread = threading.Thread(target=beat)
    thread.start()
    until(began.is_set, "the first beat")
    yield
    over.set()
    thread.join()
