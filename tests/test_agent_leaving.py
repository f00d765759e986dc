"""An agent that is told twice to stop goes, also while its store cannot be reached; so does one whose
store is gone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import Agent
from launcher.errors import StoreError
from launcher.item import RunState
from launcher.queues.sqlite import SqliteStore
from launcher.spec import LaunchSpec
from tests.conftest import PATIENCE_SECONDS, Project, until


def test_the_second_stop_ends_what_runs_without_the_store(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {"entry_point": ["sleep", "1000"], "args": [], "run_config": {}}
    store.push(None, [LaunchSpec({"resource": "local-process", "overrides": overrides}, "default", 2, ())])
    agent = Agent(store, tmp_path / "agent", lease_seconds=3)
    working = threading.Thread(target=agent.run, daemon=True)
    working.start()
    until(lambda: any(count.state is RunState.RUNNING for count in store.counts()), "the run")

    def lost(*_: Any, **__: Any) -> Any:
        raise StoreError("the store is lost")

    for verb in ("leases", "exchange", "leave"):
        monkeypatch.setattr(store, verb, lost)
    agent.stop()
    agent.stop()
    working.join(PATIENCE_SECONDS / 6)
    assert not working.is_alive()
    assert not agent._hand.local()


def sleeping(store: SqliteStore, script: str, **document: Any) -> str:
    """The ID of an item that runs this script."""
    overrides = {"entry_point": ["sh", "-c", script], "args": [], "run_config": {}}
    spec = {"resource": "local-process", "overrides": overrides, **document}
    return store.push(None, [LaunchSpec(spec, "default", 2, ())]).ids[0]


def test_what_ended_while_the_store_was_away_is_told_on_leaving(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = sleeping(store, f"until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    agent = Agent(store, tmp_path / "agent", lease_seconds=3)
    working = threading.Thread(target=agent.run, daemon=True)
    working.start()
    until(lambda: store.item(item).state is RunState.RUNNING, "the run")
    exchange, lost = store.exchange, threading.Event()

    def once(agent: str, started: Any, ended: Any, *rest: Any) -> Any:
        if ended and not lost.is_set():
            lost.set()
            raise StoreError("the store is lost")
        return exchange(agent, started, ended, *rest)

    monkeypatch.setattr(store, "exchange", once)
    agent.stop()
    (tmp_path / "go").touch()
    working.join(PATIENCE_SECONDS)
    assert lost.is_set()
    assert store.item(item).state is RunState.FINISHED


def test_the_time_of_a_run_is_kept_while_the_store_is_away(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = sleeping(store, f"echo $$ > {tmp_path}/pid; exec sleep 1000", timeout={"run": 1})
    agent = Agent(store, tmp_path / "agent", lease_seconds=3)
    working = threading.Thread(target=agent.run, daemon=True)
    working.start()
    until(lambda: store.item(item).state is RunState.RUNNING, "the run")
    pid = int(until((tmp_path / "pid").read_text, "the process"))
    with monkeypatch.context() as away:

        def lost(*_: Any, **__: Any) -> Any:
            raise StoreError("the store is lost")

        for verb in ("leases", "exchange"):
            away.setattr(store, verb, lost)
        until(lambda: not Path(f"/proc/{pid}").exists(), "its end")
    until(lambda: store.item(item).state is RunState.FAILED, "the word of it")
    assert store.item(item).stage == "timeout"
    agent.stop()
    working.join(PATIENCE_SECONDS)


@pytest.mark.parametrize("replaced", [False, True])
def test_an_agent_ends_when_its_store_was_deleted_or_replaced(project: Project, replaced: bool) -> None:
    project.run("add", "--sweep", "s", "--", "sleep", "1000")
    agent = project.start("agent")
    until(lambda: "running" in project.run("status", "s").out, "the run")
    file = Path(project.store_url.partition(":///")[2])
    with file.open("rb") as kept:
        file.unlink()
        if replaced:
            file.write_bytes(kept.read())
        _, told = agent.communicate(timeout=PATIENCE_SECONDS)
    assert agent.returncode == 1
    assert f"launcher: {file} was deleted, or replaced by another file, while this process used it" in told
