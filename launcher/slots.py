"""The CPUs, memory and GPUs of a machine, and who has them: what a spec asks for, what an agent has, and which GPUs
each of its runs gets. The agent calls it; stores give an agent only what fits its room."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from launcher.errors import UsageError
from launcher.resources import AMOUNT, BYTES, Resources, in_bytes

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
GPU = re.compile(r"\d+$|GPU-|MIG-")
SMI_SECONDS = 10.0
EPSILON = 1e-9
UNKNOWN = 1e300
"""The bytes of a machine that does not tell: more than anybody asks for."""


def _number(given: object) -> float:
    """A number, or the text of one; other texts (macros, `all`) count for nothing, as nobody knows them yet."""
    match = AMOUNT.fullmatch(str(given).strip())
    return float(match[1]) if match and not match[2] else 0.0


def _docker_bytes(given: object) -> float:
    """As Docker reads an amount: m and g are powers of two; 0 for what is none."""
    match = AMOUNT.fullmatch(str(given).strip())
    return float(match[1]) * BYTES[match[2].upper().removesuffix("I") + ("I" if match[2] else "")] if match else 0.0


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run asks for: CPUs, bytes of memory, GPUs (a part of one, or whole ones), and its places in `limits`."""

    cpus: float = 0.0
    memory: float = 0.0
    gpus: float = 0.0
    limits: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(document: Mapping[str, Any]) -> Needs:
        """The needs of a launch spec: its `resources` and `resource_args`, where the agent's own machine runs it, and
        its `limits`. What an engine runs finds its room there.

        >>> asked = {"local-process": {"gpus": 0.5}}
        >>> Needs.of({"resource": "local-process", "resource_args": asked}).gpus
        0.5
        """
        resource = document.get("resource")
        asked = (document.get("resource_args") or {}).get(resource) or {}
        limits = dict(document.get("limits") or {})
        told = Resources.of(document)
        general = {"cpus": told.cpus, "memory": told.memory, "gpus": told.gpus}
        if resource == "local-process":
            asked = general | asked
            return Needs(float(asked["cpus"] or 0), in_bytes(asked["memory"] or 0), float(asked["gpus"] or 0), limits)
        if resource == "local-container":
            memory = asked.get("memory", asked.get("m"))
            cpus = asked.get("cpus", asked.get("cpu", told.cpus))
            in_all = (told.memory or 0.0) if memory is None else _docker_bytes(memory)
            return Needs(_number(cpus), in_all, _number(asked.get("gpus", told.gpus)), limits)
        return Needs(limits=limits)

    def row(self) -> dict[str, Any] | None:
        """What a store keeps of them; None for a run that asks for nothing."""
        told = {"cpus": self.cpus, "memory": self.memory, "gpus": self.gpus, "limits": dict(self.limits)}
        return told if any(told.values()) else None


@dataclass(frozen=True, slots=True)
class Room:
    """What an agent has in all, and of that what is free now: an item that its total cannot hold is left to others,
    one that fits only later is waited for."""

    cpus: float
    memory: float
    gpus: float
    free_cpus: float
    free_memory: float
    free_gpus: float
    free_part: float
    """The largest free part of a GPU that is shared already, or of a free one."""


ANY_ROOM = Room(*[1e300] * 7)
"""For who takes items without regard to what they ask for."""


class Slots:
    """Hands out the room of a machine. `gpus`: the devices' names for CUDA_VISIBLE_DEVICES.

    >>> slots = Slots(4, 8e9, ["0", "1"])
    >>> slots.take("run", Needs(cpus=2, gpus=1))
    >>> slots.environment("run")["CUDA_VISIBLE_DEVICES"], slots.room().free_gpus
    ('0', 1)
    """

    def __init__(self, cpus: float, memory: float, gpus: Sequence[str]) -> None:
        self.cpus = cpus
        self.memory = memory
        self.gpus = tuple(gpus)
        self._taken: dict[str, tuple[Needs, tuple[str, ...]]] = {}

    def room(self) -> Room:
        """What is there, and what is free."""
        used = [needs for needs, _ in self._taken.values()]
        free = self._free()
        return Room(
            self.cpus, self.memory, len(self.gpus),
            self.cpus - sum(needs.cpus for needs in used) + EPSILON, self.memory - sum(needs.memory for needs in used),
            sum(part > 1 - EPSILON for part in free.values()), max(free.values(), default=0.0) + EPSILON,
        )  # fmt: skip

    def total(self) -> dict[str, float]:
        """What is there in all."""
        return {"cpus": self.cpus, "memory": self.memory, "gpus": float(len(self.gpus))}

    def take(self, token: str, needs: Needs, devices: Sequence[str] | None = None) -> None:
        """Give a run its room. `devices`: the GPUs that it has already."""
        if devices is None:
            devices = self._devices(needs.gpus)
        self._taken[token] = (needs, tuple(devices))

    def environment(self, token: str) -> dict[str, str]:
        """The variables that tell a run which GPUs are its own, and how many threads to start."""
        needs, devices = self._taken[token]
        told = {"CUDA_VISIBLE_DEVICES": ",".join(devices)} if needs.gpus else {}
        return told | (dict.fromkeys(THREADS, str(max(1, int(needs.cpus)))) if needs.cpus else {})

    def devices(self, token: str) -> tuple[str, ...]:
        """The GPUs of a run."""
        return self._taken[token][1] if token in self._taken else ()

    def give_back(self, token: str) -> None:
        """A run has ended."""
        self._taken.pop(token, None)

    def _free(self) -> dict[str, float]:
        free = dict.fromkeys(self.gpus, 1.0)
        for needs, devices in self._taken.values():
            for device in devices:
                free[device] = free.get(device, 0.0) - min(needs.gpus, 1.0)
        return free

    def _devices(self, gpus: float) -> list[str]:
        """Whole GPUs that are free; for a part, the fullest one that it fits in, so that whole ones stay whole."""
        free = self._free()
        if 0 < gpus < 1:
            return sorted((name for name, part in free.items() if part >= gpus - EPSILON), key=lambda name: free[name])[
                :1
            ]
        return [name for name, part in free.items() if part > 1 - EPSILON][: int(gpus)]


def discover(environ: Mapping[str, str]) -> Slots:
    """The room of this machine: the CPUs that this process may use, the memory, and the GPUs that CUDA_VISIBLE_DEVICES
    lists or nvidia-smi finds."""
    return Slots(len(os.sched_getaffinity(0)), _memory(), _gpus(environ))


def _memory() -> float:
    try:
        told = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"))
    except OSError:
        told = None
    return float(told[1]) * 1024 if told else UNKNOWN


def _gpus(environ: Mapping[str, str]) -> list[str]:
    if "CUDA_VISIBLE_DEVICES" in environ:
        names = (name.strip() for name in environ["CUDA_VISIBLE_DEVICES"].split(","))
        return list(takewhile(GPU.match, names))  # CUDA sees none from the first on that is no name: -1, NoDevFiles
    import subprocess  # whoever asks for no GPU starts sooner

    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            env=dict(environ), capture_output=True, text=True, timeout=SMI_SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):  # no GPU here, or none that answers
        return []
    return found.stdout.split()


def chosen(slots: Slots, cpus: float | None, memory: str | None, gpus: str | None) -> Slots:
    """The room that somebody gives an agent, where he says so. `gpus`: how many of those that are there, or names.

    Raises UsageError for what is no amount, and for more GPUs than there are.
    """
    known = slots.gpus
    named: Sequence[str] = known
    if gpus is not None:
        named = known[: int(gpus)] if gpus.isdigit() else [name.strip() for name in gpus.split(",") if name.strip()]
        if gpus.isdigit() and int(gpus) > len(known):
            raise UsageError(f"--gpus {gpus}: this machine has {len(known)}; give fewer, or their names, as 0,1")
    try:
        amount = slots.memory if memory is None else in_bytes(memory)
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from error
    return Slots(slots.cpus if cpus is None else cpus, amount, named)
