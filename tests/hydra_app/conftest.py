"""A Hydra app that has never heard of launcher, and an agent that drains a store in the background."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.item import Item, ItemFilter
from launcher.queues import open_store
from tests.conftest import PATIENCE_SECONDS, Result

PROGRAM = """
import logging, os, signal, sys
import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("double", lambda number: 2 * number)

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    logging.getLogger("app").info("lr is %s", cfg.lr)
    print("cwd", os.getcwd(), "version", 1, "colour", os.environ.get("COLOUR"))
    if cfg.lr == "broken":
        raise ValueError("lr is broken")
    if cfg.lr == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return cfg.twice

if __name__ == "__main__":
    main()
"""


@dataclass(frozen=True)
class App:
    """The folder of a Hydra app and its store."""

    folder: Path
    url: str

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def start(self, *words: str, program: tuple[str, ...] = ("train.py",)) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *program, *words], cwd=self.folder, text=True, stdin=pipe, stdout=pipe, stderr=pipe
        )

    def run(self, *words: str, program: tuple[str, ...] = ("train.py",)) -> Result:
        process = self.start(*words, program=program)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return Result(process.returncode, out, err)

    def queue(self, *words: str, program: tuple[str, ...] = ("train.py",)) -> Result:
        """A multirun whose launcher is ours."""
        return self.run("-m", "hydra/launcher=launch_queue", *words, program=program)

    def drain(self) -> None:
        done = self.run("-m", "launcher", "agent", "--drain", "--max-jobs", "2", program=("-P",))
        assert done.code == 0, done

    def items(self) -> list[Item]:
        with closing(open_store(self.url)) as store:
            return list(store.items(ItemFilter()))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    url = f"sqlite:///{tmp_path}/queue/store.db"
    monkeypatch.setenv("LAUNCHER_STORE", url)
    made = App(tmp_path / "app", url)
    made.write("train.py", PROGRAM)
    made.write("conf/config.yaml", "defaults: [{model: svm}, _self_]\nlr: 1\nseed: 0\ntwice: ${double:${lr}}\n")
    made.write("conf/model/svm.yaml", "name: svm\n")
    made.write("conf/model/mlp.yaml", "name: mlp\n")
    return made


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """One agent for the store that this test's programs find in their environment."""
    monkeypatch.setenv("LAUNCHER_STORE", f"sqlite:///{tmp_path}/queue/store.db")
    process = start_agent(tmp_path)
    yield process
    process.terminate()
    process.wait(PATIENCE_SECONDS)


def start_agent(place: Path) -> subprocess.Popen[bytes]:
    with (place / "agent.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "launcher", "agent", "--max-jobs", "2"], stdout=log, stderr=log, cwd=place
        )
