"""launcher: from a Hydra grid to finished runs, through queues with priorities and leases.

The names below are the public API; each is imported on first use, so that `import launcher` in a program that only
reports its result costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.analysis.frames import results as results
    from launcher.api import QueuedRun as QueuedRun
    from launcher.api import Queues as Queues
    from launcher.api import launch_add as launch_add
    from launcher.api import launch_sweep as launch_sweep
    from launcher.compose import Point as Point
    from launcher.compose import compose_grid as compose_grid
    from launcher.errors import LaunchError as LaunchError
    from launcher.item import RunState as RunState
    from launcher.reporting import report as report
    from launcher.spec import LaunchSpec as LaunchSpec

__version__ = "0.1.0"

_HOMES = {
    "LaunchError": "errors",
    "LaunchSpec": "spec",
    "Point": "compose",
    "QueuedRun": "api",
    "Queues": "api",
    "RunState": "item",
    "compose_grid": "compose",
    "launch_add": "api",
    "launch_sweep": "api",
    "report": "reporting",
    "results": "analysis.frames",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'launcher' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(f"launcher.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
