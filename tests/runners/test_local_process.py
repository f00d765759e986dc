"""local-process keeps the runners' contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runners.contract import Place, RunnerContract


class TestLocalProcess(RunnerContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return Place(tmp_path / "runs", "local-process", {})
