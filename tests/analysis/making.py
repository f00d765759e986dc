"""Records of runs, as a store would give them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from launcher.item import RunRecord

NUMBERS = itertools.count(1)


def record(point: Mapping[str, Any] | None = None, result: Mapping[str, Any] | None = None, **more: Any) -> RunRecord:
    """The record of a run that finished with this result, at this point; `more`: its fields."""
    seq = next(NUMBERS)
    overrides = [f"{key}={value}" for key, value in (point or {}).items()]
    values: dict[str, Any] = {
        "seq": seq, "id": f"item{seq}", "sweep": "s", "queue": "default", "state": "finished",
        "point": json.dumps(overrides), "result": None if result is None else json.dumps(result), "attempt": 1,
        "added_at": 1.0, "started_at": 2.0, "finished_at": 5.0, "agent": "a", "run_dir": None, "exit_code": 0,
        "stage": None, "reason": None, "name": None,
    }  # fmt: skip
    return RunRecord(**values | more)
