"""A dispatcher over three queues, for a project in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.dispatcher import Dispatcher
from launcher.item import QueueInfo

QUEUES = {
    "default": QueueInfo("default", "local-process"),
    "gpu": QueueInfo("gpu", "slurm"),
    "plain": QueueInfo("plain", "local-process", prioritization="DISABLED"),
}
COMMAND = ["python", "train.py"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    code = tmp_path / "code"
    code.mkdir()
    return code


@pytest.fixture
def dispatcher(folder: Path) -> Dispatcher:
    return Dispatcher(QUEUES, str(folder), {"WANDB_USERNAME": "me"})
