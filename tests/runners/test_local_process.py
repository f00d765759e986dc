"""local-process keeps the runners' contract."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from launcher.item import Finished
from launcher.runners.local_process import LocalProcess
from tests.conftest import PATIENCE_SECONDS
from tests.runners.contract import Place, RunnerContract, outcome


class TestLocalProcess(RunnerContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return Place(tmp_path / "runs", "local-process", {})


def test_a_keeper_that_has_ended_before_its_agent_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = threading.Event()
    runner = LocalProcess(heard.set)
    assert outcome(runner, *Place(tmp_path, "local-process", {}).start(runner, "true")) == Finished(None)
    heard.clear()

    class Late(suppress):
        """What follows the close of the keeper's input comes when the keeper's end was heard."""

        def __exit__(self, *error: Any) -> bool:
            assert heard.wait(PATIENCE_SECONDS)
            return super().__exit__(*error)

    monkeypatch.setattr("launcher.runners.local_process.suppress", Late)
    runner.close()
