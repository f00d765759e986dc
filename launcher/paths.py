"""The files of a run: one class owns every path, so that nobody else builds a file name. The agent creates them, the
runner and the program write into them, `launcher logs` and `show` read them."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.yaml_text import yaml_text

PRIVATE = ".private"
"""The folder, below the folder of runs, for what runs are given that nobody else may read."""


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that readers, and a crash at any moment, see the old file or the whole new one."""
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The folder of one attempt: `<root>/<item>/<attempt>/`.

    >>> RunPaths.of(Path("/runs"), "k3x9a1b2", 1).config.as_posix()
    '/runs/k3x9a1b2/1/config.yaml'
    """

    folder: Path

    @staticmethod
    def of(root: Path, item_id: str, attempt: int) -> RunPaths:
        """The paths of attempt number `attempt` (from 1) of an item, below the agent's folder of runs."""
        return RunPaths(root / item_id / str(attempt))

    @property
    def config(self) -> Path:
        """The composed config, YAML."""
        return self.folder / "config.yaml"

    @property
    def log(self) -> Path:
        """What the program wrote to stdout and stderr, in the order it came."""
        return self.folder / "output.log"

    @property
    def result(self) -> Path:
        """Where the program leaves its result, JSON."""
        return self.folder / "result.json"

    @property
    def series(self) -> Path:
        """Where the program leaves the points that it reports with a step, a JSON object a line."""
        return self.folder / "series.jsonl"

    @property
    def job_return(self) -> Path:
        """Where a job of a Hydra multirun that somebody waits for leaves its return value, pickled."""
        return self.folder / "job_return.pickle"

    @property
    def exit_code(self) -> Path:
        """Where the exit code is written down as soon as it is known, so that no later crash loses it."""
        return self.folder / "exit_code"

    def private(self, token: str) -> Path:
        """The folder for what only the start of the run with this lease may read; removed when it has started."""
        return self.root / PRIVATE / f"{self.folder.parent.name}-{token}"

    @property
    def root(self) -> Path:
        """The agent's folder of runs."""
        return self.folder.parents[1]

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder, with the composed config in it. One that is there is of a deleted item, or another store's,
        with this ID: what that run told is not this one's."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.folder.mkdir()
        except FileExistsError:
            for told in (self.log, self.result, self.series, self.job_return, self.exit_code):
                told.unlink(missing_ok=True)
        self.config.write_text(yaml_text(config), encoding="utf-8")
