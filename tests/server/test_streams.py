"""What runs stream: written once however often it is told, read as it was printed, and harmless whatever it holds."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.item import RunState
from tests.server.conftest import Served
from tests.server.test_protocol import ACK, BUCKET, QUEUE, popped, state, stream

DEEP = "[" * 50_000
STRANGE = [DEEP, '{"_step": 1, "a": NaN, "b": 100000000000000000000}', '{"_step": 1e999, "a": 1}', '{"_step": NaN}', "{"]


@pytest.fixture
def gpu(served: Served) -> Served:
    served.data(QUEUE, name="gpu")
    return served


def content(served: Served, run: str, name: str = "output.log") -> str:
    return (served.folder / "server/runs/team/p" / run / name).read_text()


@pytest.mark.parametrize("line", STRANGE)
def test_a_run_ends_whatever_its_history_holds(line: str, gpu: Served) -> None:
    item_id = popped(gpu)
    gpu.data(ACK, id=item_id, run=item_id)
    files: dict[str, Any] = {"wandb-history.jsonl": {"offset": 0, "content": [line]}}
    assert stream(gpu, item_id, files=files, complete=True, exitcode=0).status_code == 200
    assert state(gpu, item_id) is RunState.FINISHED
