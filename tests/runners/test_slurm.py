"""slurm keeps the runners' contract, on a real cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runners.contract import Place, RunnerContract
from tests.slurm import SlurmCluster

SOON = {"poll_seconds": 0.1}


class TestSlurm(RunnerContract):
    @pytest.fixture
    def place(self, tmp_path: Path, slurm: SlurmCluster) -> Place:
        return Place(tmp_path / "runs", "slurm", {}, SOON)
