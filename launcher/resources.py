"""What a run asks of the machine that runs it, in one language for all resources: `launch.resources`. Each runner maps
it to what its engine calls that (docs/engines.md); what a spec says in the engine's own words wins. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", re.IGNORECASE)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*")


def in_bytes(amount: float | str) -> float:
    """Bytes of an amount of memory: a number of them, or a text as `512MB`, `8G`, `8GiB`; ValueError for others.

    >>> in_bytes("8GiB"), in_bytes("1.5G")
    (8589934592.0, 1500000000.0)
    """
    if isinstance(amount, str):
        match = AMOUNT.fullmatch(amount.strip())
        if not match:
            raise ValueError(f"{amount!r} is no amount of memory; expected bytes, or a text as 512MB, 8G, 8GiB")
        return float(match[1]) * BYTES[match[2].upper()]
    return float(amount)


def seconds(span: float | str) -> float:
    """A span of time in seconds: a number of them, or a text as `90s`, `5m`, `1h 30m`, `2d`; ValueError for others.

    >>> seconds("1h 30m"), seconds(2.5)
    (5400.0, 2.5)
    """
    if isinstance(span, bool) or not isinstance(span, int | float | str):
        raise ValueError(f"{span!r} is no span of time; expected seconds, or a text as 90s, 5m, 1h 30m")
    if isinstance(span, str):
        parts = SPAN.findall(span)
        if not parts or SPAN.sub("", span):
            raise ValueError(f"{span!r} is no span of time; expected seconds, or a text as 90s, 5m, 1h 30m")
        return float(sum(float(number) * SECONDS[unit] for number, unit in parts))
    return float(span)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a run asks for; None where it does not say. `memory` in bytes, `time` in seconds, `gpu_type` as the engine
    names it."""

    cpus: float | None = None
    memory: float | None = None
    gpus: float | None = None
    gpu_type: str | None = None
    time: float | None = None

    @staticmethod
    def of(document: Mapping[str, Any]) -> Resources:
        """The `resources` of a launch spec, as schemas/resources.json describes them.

        >>> Resources.of({"resources": {"cpus": 4, "memory": "16G", "time": "2h"}})
        Resources(cpus=4, memory=16000000000.0, gpus=None, gpu_type=None, time=7200.0)
        """
        told = document.get("resources") or {}
        memory, time = told.get("memory"), told.get("time")
        return Resources(
            told.get("cpus"), None if memory is None else in_bytes(memory), told.get("gpus"), told.get("gpu_type"),
            None if time is None else seconds(time),
        )  # fmt: skip
