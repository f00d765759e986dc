"""What has waited in its queue for too long fails also while an agent has all its places taken."""

from __future__ import annotations

import threading
from pathlib import Path

from launcher.agent import Agent
from launcher.item import ItemFilter, RunState
from launcher.queues.sqlite import SqliteStore
from launcher.spec import LaunchSpec
from tests.conftest import PATIENCE_SECONDS, until


def test_what_waits_for_too_long_fails_behind_a_run_that_takes_every_place(store: SqliteStore, tmp_path: Path) -> None:
    go = tmp_path / "go"
    [first] = push(store, "sh", "-c", f"while [ ! -e {go} ]; do sleep 0.05; done")
    agent = Agent(store, tmp_path / "agent", drain=True, lease_seconds=3)
    working = threading.Thread(target=agent.run, daemon=True)
    working.start()
    try:
        until(lambda: store.item(first).state is RunState.RUNNING, "the run")
        [second] = push(store, "true", queue=0.01)
        until(lambda: store.item(second).state is RunState.FAILED, "the end of what waits")
        assert store.item(first).state is RunState.RUNNING
        assert store.item(second).reason == "waited in its queue for too long"
    finally:
        go.touch()
        working.join(PATIENCE_SECONDS)
    assert [item.state for item in store.items(ItemFilter())] == [RunState.FINISHED, RunState.FAILED]


def push(store: SqliteStore, *command: str, queue: float | None = None) -> tuple[str, ...]:
    document = {"resource": "local-process", "overrides": {"entry_point": list(command), "args": [], "run_config": {}}}
    timeout = {} if queue is None else {"timeout": {"queue": queue}}
    return store.push(None, [LaunchSpec(document | timeout, "default")]).ids
