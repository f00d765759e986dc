from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes_api import KubernetesApi
from tests.kubernetes_node import Node
from tests.runners.contract import Place, RunnerContract

SOON = {"poll_seconds": 0.2}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    made = KubernetesApi(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(made.config))
    yield made
    made.close()


@pytest.fixture
def node(api: KubernetesApi, tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "node").mkdir()
    made = Node(api, tmp_path / "node")
    yield made
    made.close()


SHARED = {"persistentVolumeClaim": {"claimName": "runs"}}


class TestKubernetes(RunnerContract):
    @pytest.fixture
    def place(self, tmp_path: Path, node: Node) -> Place:
        spec = {"docker": {"docker_image": "box:1"}, "resource_args": {"shared": SHARED}}
        return Place(tmp_path / "agent/runs", "kubernetes", spec, SOON)
