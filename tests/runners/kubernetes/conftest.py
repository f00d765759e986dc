"""Runs on a Kubernetes of the tests: its server, its node, and runs that see the agent's folder or do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.runners import Runner
from tests.kubernetes_api import KubernetesApi
from tests.kubernetes_node import Node
from tests.runners.contract import Place

SOON = {"poll_seconds": 0.2}
SHARED = {"persistentVolumeClaim": {"claimName": "runs"}}
BOX = {"docker": {"docker_image": "box:1"}}
JOBS = "/apis/batch/v1/namespaces/team/jobs"


@pytest.fixture
def node(kubernetes_node: Node) -> Node:
    return kubernetes_node


@pytest.fixture
def api(node: Node) -> KubernetesApi:
    return node.api


@pytest.fixture
def place(tmp_path: Path, node: Node) -> Place:
    """Pods see the agent's folder."""
    return Place(tmp_path / "agent/runs", "kubernetes", {**BOX, "resource_args": {"shared": SHARED}}, SOON)


@pytest.fixture
def apart(tmp_path: Path, node: Node) -> Place:
    """Pods see nothing of the agent's disk."""
    return Place(tmp_path / "agent/runs", "kubernetes", BOX, SOON)


@pytest.fixture
def runner(place: Place) -> Iterator[Runner]:
    with place.runner() as opened:
        yield opened
