"""`make bench`: measures the budgets, each against a peer in the same run, and prints a table and JSON lines.

`python -m tests.bench NAME…` runs only those. Nothing here is a test: machines are noisy, so a ratio is shown beside
its budget, and the exit code is always 0.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

from tests.bench import engines
from tests.bench.checkouts import checkouts
from tests.bench.composing import compose, end_to_end
from tests.bench.growth import growth
from tests.bench.hydra_app import multirun, plugin
from tests.bench.measure import Measured, agent, cold_start, pickup, push, validate
from tests.bench.pages import pages
from tests.bench.queues import pickup_postgres, push_postgres, queues
from tests.bench.seeing import seeing
from tests.bench.serving import dispatching, serving

BENCHES: dict[str, Callable[[], Iterator[Measured]]] = {
    "cold_start": cold_start, "push": push, "agent": agent, "pickup": pickup, "compose": compose,
    "end_to_end": end_to_end, "validate": validate, "checkouts": checkouts, "push_postgres": push_postgres,
    "pickup_postgres": pickup_postgres, "queues": queues, "growth": growth, "multirun": multirun,
    "plugin": plugin, "seeing": seeing, "pages": pages, "slurm": engines.slurm, "ray": engines.ray,
    "dispatching": dispatching, "serving": serving,
}  # fmt: skip


def main() -> None:
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(BENCHES)}")
    measured: list[Measured] = []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        measured.extend(BENCHES[name]())
    width = max(len(entry.what) for entry in measured)
    for entry in measured:
        print(
            f"{entry.what:<{width}}  {entry.figure:>34}  budget {entry.budget:<18} {'met' if entry.met else 'MISSED'}"
        )
    for entry in measured:
        print(json.dumps(entry.record()))


main()
