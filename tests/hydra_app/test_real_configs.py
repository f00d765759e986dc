"""The configs of a real project (lightning-hydra-template), driven by a stand-in for its train.py."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from launcher.item import RunState
from tests.conftest import REPOSITORY, needs
from tests.hydra_app.conftest import App

CONFIGS = REPOSITORY.parent / "shared/config-repos/lightning-hydra-template"
STAND_IN = """
import os
from pathlib import Path
import hydra
os.environ["PROJECT_ROOT"] = str(Path(__file__).resolve().parents[1])

@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
def main(cfg):
    Path(cfg.paths.output_dir, "checkpoint.txt").write_text(f"{cfg.model.optimizer.lr} {cfg.data.batch_size}")
    return float(cfg.model.optimizer.lr)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    needs("config-repos", CONFIGS.is_dir(), f"{CONFIGS.relative_to(REPOSITORY.parent)} is not beside the checkout")
    app = App(tmp_path / "template", f"sqlite:///{tmp_path}/queue/store.db")
    monkeypatch.setenv("LAUNCHER_STORE", app.url)
    shutil.copytree(CONFIGS, app.folder / "configs")
    app.write("src/train.py", STAND_IN)
    return app


def test_a_grid_over_an_experiment_leaves_its_outputs_in_the_templates_folders(template: App) -> None:
    words = ["experiment=example", "model.optimizer.lr=0.1,0.01", "data.batch_size=32,64"]
    assert template.queue(*words, program=("src/train.py",)).code == 0
    template.drain()
    assert [item.result for item in template.items()] == [{"return_value": lr} for lr in (0.1, 0.1, 0.01, 0.01)]
    [multirun] = (template.folder / "logs/train/multiruns").iterdir()
    assert [(multirun / f"{job}/checkpoint.txt").read_text() for job in range(4)] == [
        "0.1 32", "0.1 64", "0.01 32", "0.01 64",
    ]  # fmt: skip
    assert (multirun / "0/train.log").is_file()


def test_its_optuna_search_runs_on_a_queue(template: App, agent: subprocess.Popen[bytes]) -> None:
    words = ["hparams_search=mnist_optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2"]
    done = template.run(
        "hydra/launcher=launch_queue", "hydra.launcher.wait=true", *words, program=("src/train.py",)
    )  # hydra.mode of its config makes it a multirun
    assert done.code == 0, done
    assert [item.state for item in template.items()] == [RunState.FINISHED] * 4
    [multirun] = (template.folder / "logs/train/multiruns").iterdir()
    best = yaml.safe_load((multirun / "optimization_results.yaml").read_text())["best_value"]
    assert best == max(item.result["return_value"] for item in template.items() if item.result)
