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
