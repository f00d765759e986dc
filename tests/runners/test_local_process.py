"""local-process keeps the runners' contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from launcher.outcome import Finished
from launcher.runners import keeper
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


def test_a_run_that_ends_at_once_is_told_as_started_first(tmp_path: Path) -> None:
    lines = []
    for number in range(20):
        request = {"argv": ["/bin/true"], "env": {}, "cwd": str(tmp_path), "token": str(number)}
        files = {"log": str(tmp_path / f"{number}.log"), "exit": str(tmp_path / f"{number}.exit")}
        lines.append(json.dumps(request | files) + "\n")
    program = [sys.executable, "-I", "-S", keeper.__file__, str(os.getpid())]
    told = subprocess.run(
        program, check=True, input="".join(lines).encode(), capture_output=True, timeout=PATIENCE_SECONDS
    )
    heard: dict[str, list[str]] = {}
    for reply in map(json.loads, told.stdout.splitlines()):
        heard.setdefault(reply["token"], []).append("started" if "started" in reply else f"ended {reply['exit_code']}")
    assert heard == {str(number): ["started", "ended 0"] for number in range(20)}
