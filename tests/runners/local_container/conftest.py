"""Runs in containers of a Docker of the tests, none of which may be left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RunnerError
from tests.runners.contract import Place, submitted
from tests.services import Docker

BOX = {"docker": {"docker_image": "box:1"}}


@pytest.fixture
def place(tmp_path: Path, docker: Docker) -> Iterator[Place]:
    yield Place(tmp_path / "runs", "local-container", BOX)
    left = docker.containers()
    if left:
        docker.run("rm", "--force", *left)
    assert left == [], "no container is left behind"


def image(name: str) -> dict[str, Any]:
    return {"docker": {"docker_image": name}}


def inspected(docker: Docker, container: str) -> dict[str, Any]:
    [told] = json.loads(docker.run("inspect", container))
    return told


def refusal(place: Place, *command: str, **fields: Any) -> RunnerError:
    """Why a run cannot be prepared or started."""
    with place.runner() as runner:
        try:
            [refused] = submitted(runner, [place.request(runner, *command, **fields)])
        except RunnerError as error:
            return error
    assert isinstance(refused, RunnerError)
    return refused
