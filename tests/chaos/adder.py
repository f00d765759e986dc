"""Adds items for chaos. As a program, `python -m tests.chaos.adder URL CODE SWEEP NUMBER`, it prints a line once the
store has acknowledged them; with `busy SECONDS` it adds small sweeps, cancels and lists for so long."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from typing import Any

from launcher.item import ItemFilter, Receipt, Sweep
from launcher.queues import Store, open_store
from launcher.spec import LaunchSpec

RETRY: dict[str, Any] = {"max_attempts": 60, "on": ["lost", "preempted", 1]}
"""Attempts for every fault to come; of the program's own endings only its exit code 1, when it cannot write."""


def specs(code: str, number: int) -> Iterator[LaunchSpec]:
    for index in range(number):
        document = {
            "entity": "", "project": "chaos", "docker": {}, "git": {}, "resource": "local-process", "uri": code,
            "overrides": {"entry_point": ["sh", "program.sh"], "args": [f"i={index}"], "run_config": {"i": index}},
            "retry": RETRY,
        }  # fmt: skip
        yield LaunchSpec(document, point=(f"i={index}",))


def add(store: Store, code: str, sweep: str, number: int) -> Receipt:
    return store.push(Sweep(sweep), specs(code, number))


def keep_busy(store: Store, code: str, name: str, seconds: float) -> None:
    """What many impatient people do: add, look, cancel, add again."""
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        sweep = f"{name}-{number}"
        add(store, code, sweep, 3)
        print(f"added {sweep} 3", flush=True)
        list(store.items(ItemFilter(sweep=sweep)))
        store.counts()
        if random.random() < 0.8:
            store.cancel(ItemFilter(sweep=sweep), name)
        number += 1


def main() -> None:
    url, code, sweep, *rest = sys.argv[1:]
    store = open_store(url)
    if rest[0] == "busy":
        keep_busy(store, code, sweep, float(rest[1]))
    else:
        add(store, code, sweep, int(rest[0]))
        print(f"added {sweep} {rest[0]}", flush=True)
    store.close()


if __name__ == "__main__":
    main()
