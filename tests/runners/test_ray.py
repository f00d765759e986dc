"""ray keeps the runners' contract, on a real cluster; and what only Ray has: a driver that outlives agents, nodes that
are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runners.contract import Place, RunnerContract

SOON = {"poll_seconds": 0.1}
WAIT = 'echo begun; until [ -e "$LAUNCHER_RUN_DIR/go" ]; do sleep 0.05; done; echo over'


def made(root: Path, address: str) -> Place:
    return Place(root / "runs", "ray", {"resource_args": {"address": address}}, SOON)


@pytest.fixture
def place(tmp_path: Path, ray_address: str) -> Place:
    return made(tmp_path, ray_address)


class TestRay(RunnerContract):
    @pytest.fixture
    def place(self, tmp_path: Path, ray_address: str) -> Place:
        return made(tmp_path, ray_address)
