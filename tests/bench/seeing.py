"""Tables over a sweep of 100,000 items, as whole commands; and what reporting a point costs."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from launcher import series
from launcher.item import Sweep
from launcher.outcome import Failed, Finished
from launcher.queues import Store, open_store
from launcher.spec import LaunchSpec
from tests.bench.measure import Measured, folder, run

ITEMS = 100_000
POINTS = 10_000
ROUNDS = 5
REASONS = ("exit code 1: ValueError: bad value {}", "killed by SIGKILL", "exit code 2: KeyError: 'x{}'")
COMMANDS = (
    ("results", "big"),
    ("results", "big", "--format", "csv"),
    ("results", "big", "--group-by", "model,lr", "--over", "seed"),
    ("failures", "big"),
)


def seeing() -> Iterator[Measured]:
    """`launcher results` and its kin over 100,000 items, a tenth of them failed; and reporting 10,000 points."""
    launcher = str(Path(sys.executable).parent / "launcher")
    with folder() as place:
        url = f"sqlite:///{place}/store.db"
        store = open_store(url)
        fill(store, ITEMS)
        store.close()
        for words in COMMANDS:
            before = os.times()
            took = statistics.median(run(launcher, *words, LAUNCHER_STORE=url) for _ in range(ROUNDS))
            after = os.times()
            spent = (
                after.children_user + after.children_system - before.children_user - before.children_system
            ) / ROUNDS
            what = f"launcher {' '.join(words)}, {ITEMS:,} items"
            yield Measured(what, took, None, f"{took:.2f} s, {spent:.2f} s of CPU", "≤ 2 s", took <= 2.0)
    yield points()


def fill(store: Store, count: int) -> None:
    """A sweep `big` of so many items: every tenth failed, the others reported three metrics."""
    store.push(Sweep("big", "accuracy"), map(spec, range(count)))
    number = 0
    while leases := store.pop("bench", ["default"], 2000):
        store.ack((lease, {"pid": 1}, f"/runs/{lease.item.id}/1") for lease in leases)
        store.finish((lease, ending(number + place)) for place, lease in enumerate(leases))
        number += len(leases)


def spec(number: int) -> LaunchSpec:
    model, lr, seed = ("svm", "mlp", "vit")[number % 3], 10.0 ** -(number // 3 % 5), number // 15
    document = {"overrides": {"run_config": {"seed": seed}}, "resource": "local-process"}
    return LaunchSpec(document, point=(f"model={model}", f"lr={lr:g}", f"seed={seed}"))


def ending(number: int) -> Finished | Failed:
    if number % 10 == 0:
        return Failed("run", REASONS[number // 10 % 3].format(number), 1)
    share = number * 0.618 % 1
    return Finished({"accuracy": share, "loss": 1 - share, "seconds_per_step": share / 7})


def points() -> Measured:
    """Reporting 10,000 points of two metrics, and how much a store keeps of them."""
    with folder() as place:
        file = series.SeriesFile(place / "series.jsonl")
        began = time.perf_counter()
        for step in range(POINTS):
            file.append({"step": step, "loss": 1 / (step + 1), "accuracy": step / POINTS})
        ours = (time.perf_counter() - began) / POINTS
        packed = series.pack(series.read(place / "series.jsonl"))
    assert packed
    figure = f"{ours * 1e6:.0f} µs each, {len(packed) / POINTS:.0f} bytes kept"
    return Measured(f"report {POINTS:,} points of a run", ours, None, figure, "≤ 100 µs", ours <= 1e-4)
