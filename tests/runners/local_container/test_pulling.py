"""Images that must be pulled first: nothing else waits for them, and what was pulled is pinned."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import Agent
from launcher.item import ItemFilter, QueueInfo, RunState
from launcher.outcome import Finished
from launcher.policy import MAX_ATTEMPTS
from launcher.queues.sqlite import SqliteStore
from launcher.spec import LaunchSpec
from tests.conftest import until
from tests.runners.contract import Place, outcome
from tests.runners.local_container.conftest import image, inspected
from tests.services import Docker, Registry

PULLS = """#!/bin/sh
# the real program, whose pulls take until somebody says so, and fail then
[ "$1" = pull ] || exec {docker} "$@"
until [ -e {said} ]; do sleep 0.05; done
echo no such image >&2
exit 1
"""


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that lets pulls come to their end."""
    program, said = tmp_path / "bin/docker", tmp_path / "said"
    program.parent.mkdir()
    program.write_text(PULLS.format(docker=shutil.which("docker"), said=said))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return said


def test_other_runs_start_while_an_image_is_pulled(place: Place, pulled: Path) -> None:
    told: dict[str, Any] = {}
    with place.runner() as runner:
        awaited = place.request(runner, "true", **image("elsewhere:1"))
        runner.submit([awaited], told.__setitem__)
        assert outcome(runner, *place.start(runner, "true")) == Finished(None)
        assert told == {}
        pulled.touch()
        until(lambda: told, "the answer")
    assert "cannot be pulled (no such image)" in str(told[awaited.token])


def test_an_agent_looks_after_its_other_runs_while_an_image_is_pulled(
    place: Place, pulled: Path, store: SqliteStore, tmp_path: Path
) -> None:
    store.create_queue(QueueInfo("boxes", resource="local-container"))
    slow, quick, late = (
        LaunchSpec({"resource": "local-container", "overrides": {"entry_point": ["true"]}, **image(name)}, "boxes")
        for name in ("elsewhere:1", "box:1", "box:1")
    )
    store.push(None, [slow, quick], again=True)
    agent = Agent(store, tmp_path / "agent", queues=["boxes"], max_jobs=2)
    working = threading.Thread(target=agent.run)
    working.start()

    def states() -> list[str]:
        return [item.state.value for item in store.items(ItemFilter())]

    until(lambda: states() == ["leased", "finished"], "the end of the other")
    store.push(None, [late], again=True)
    until(lambda: states() == ["leased", "finished", "finished"], "the end of one that came meanwhile")
    agent.stop()
    pulled.touch()
    working.join()
    assert states() == ["failed", "finished", "finished"]


def test_an_agent_that_is_told_to_leave_at_once_waits_for_no_pull(
    pulled: Path, store: SqliteStore, tmp_path: Path
) -> None:
    store.create_queue(QueueInfo("boxes", resource="local-container"))
    slow = {"resource": "local-container", "overrides": {"entry_point": ["true"]}, **image("elsewhere:1")}
    store.push(None, [LaunchSpec(slow, "boxes")])
    agent = Agent(store, tmp_path / "agent", queues=["boxes"])
    working = threading.Thread(target=agent.run)
    working.start()
    until(lambda: children(pulled.parent / "bin/docker"), "the pull")
    agent.stop()
    agent.stop()
    working.join(30)
    assert not working.is_alive()
    assert not children(pulled.parent / "bin/docker")
    [item] = store.items(ItemFilter())
    assert item.state is RunState.PENDING
    assert item.max_attempts - item.attempt == MAX_ATTEMPTS  # it cost none


def children(program: Path) -> list[str]:
    """The processes that execute a script."""
    return subprocess.run(["pgrep", "-f", str(program)], capture_output=True, text=True, check=False).stdout.split()


def test_an_image_is_pulled_and_pinned(place: Place, docker: Docker, registry: Registry) -> None:
    name = f"{registry.address}/team/box:1"
    docker.run("tag", "box:1", name)
    docker.run("push", name)
    docker.run("rmi", name)
    with place.runner() as runner:
        token, handle = place.start(runner, "sleep", "1000", **image(name))
        seen = inspected(docker, handle["id"])
        docker.run("tag", "bare:1", name)
        runner.cancel(token, handle)
        outcome(runner, token, handle)
        assert handle["digest"].startswith(f"{registry.address}/team/box@sha256:")
        assert seen["Image"] == handle["image"]
        started = place.start(runner, "true")
        assert started[1] | {"image": handle["image"]} == started[1], "under another name, which no registry knows"
        assert "digest" not in started[1]
        assert outcome(runner, *started) == Finished(None)
        started = place.start(runner, "/echo", "now another one", **image(name))
        assert outcome(runner, *started) == Finished(None)
        assert started[1]["image"] != handle["image"]
