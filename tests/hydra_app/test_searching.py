"""Sweepers that wait for return values, on the example: Optuna's search goes on whatever happens to agents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from launcher.item import RunState
from tests.conftest import PATIENCE_SECONDS, REPOSITORY, until
from tests.hydra_app.conftest import App, start_agent

TRIALS = 30


@pytest.mark.timeout(900)
def test_optuna_searches_on_a_queue_while_its_agent_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(REPOSITORY, f"sqlite:///{tmp_path}/queue/store.db")
    monkeypatch.setenv("LAUNCHER_STORE", app.url)
    killed = start_agent(tmp_path)
    search = app.start(
        "-m", "hydra/launcher=launch_queue", "hydra.launcher.wait=true", "hydra.launcher.sweep=search",
        "hydra/sweeper=optuna", "hydra/sweeper/sampler=tpe", "hydra.sweeper.sampler.seed=1",
        "hydra.sweeper.direction=maximize", f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.n_jobs=4",
        f"hydra.sweep.dir={tmp_path}/search", "model=svm", "model.regularization=tag(log,interval(0.001,1000))",
        program=("-m", "launcher.examples.digits"),
    )  # fmt: skip
    until(lambda: sum(item.state is RunState.RUNNING for item in app.items()) == 2, "two runs at a time")
    killed.kill()
    killed.wait(PATIENCE_SECONDS)
    second = start_agent(tmp_path)
    out, err = search.communicate(timeout=800)
    second.terminate()
    second.wait(PATIENCE_SECONDS)
    assert search.returncode == 0, (out, err)
    items = app.items()
    assert [item.state for item in items] == [RunState.FINISHED] * TRIALS
    assert len({item.point for item in items}) == TRIALS
    best = yaml.safe_load((tmp_path / "search/optimization_results.yaml").read_text())["best_value"]
    told = subprocess.run(
        [sys.executable, "-m", "launcher", "results", "search", "--json"], capture_output=True, check=True, cwd=tmp_path
    )
    assert best == json.loads(told.stdout)[0]["return_value"]
    assert best == max(item.result["return_value"] for item in items if item.result)
