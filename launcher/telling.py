"""What tells a run apart from those of its sweep that was composed from no grid: words like a point's overrides, from
its own command or config. The dispatcher gives them to specs that have no point."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from launcher import canonical

SETTING = re.compile(r"[-+]*([A-Za-z_][\w.@/-]*)=(.*)", re.DOTALL)
MOST = 16
"""A config with more leaves than this tells people nothing."""


def telling(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The settings among a spec's words, else the leaves of its config, if these are few, else its command.

    >>> telling({"overrides": {"entry_point": ["python", "train.py", "--lr=0.1", "++seed=1"]}})
    ('lr=0.1', 'seed=1')
    >>> telling({"overrides": {"entry_point": ["true"], "run_config": {"model": {"name": "svm"}, "lr": 0.1}}})
    ('model.name=svm', 'lr=0.1')
    >>> telling({"overrides": {"entry_point": ["python", "train.py", "a b"]}})
    ("command=python train.py 'a b'",)
    """
    overrides = document["overrides"]
    words = [*(overrides.get("entry_point") or ()), *(overrides.get("args") or ())]
    if settings := [f"{found[1]}={found[2]}" for word in words[1:] if (found := SETTING.fullmatch(word))]:
        return tuple(settings)
    config = list(canonical.leaves(overrides.get("run_config") or {}))
    if 0 < len(config) <= MOST:
        return tuple(f"{path}={value if isinstance(value, str) else canonical.encode(value)}" for path, value in config)
    return (f"command={shlex.join(words)}",) if words else ()
