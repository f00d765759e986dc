"""What pinned code costs: 500 runs of one commit share a checkout, which costs each further run next to nothing."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from launcher.agent import Agent
from launcher.item import Sweep
from launcher.queues.sqlite import SqliteStore
from launcher.sources import Checkouts, pin
from launcher.spec import LaunchSpec, Source
from tests.bench.measure import Measured, folder

RUNS = 500
FILES = 1000


def checkouts() -> Iterator[Measured]:
    """The first checkout of a commit against each further one; then an agent's 500 runs of it against in-place ones."""
    with folder() as place:
        repository = _repository(place / "repository")
        source, _ = pin(str(repository))
        shared = Checkouts(place / "cache", lambda _: b"")
        first, *further = (_seconds(shared, source) for _ in range(RUNS + 1))
        shared.close()
        each = statistics.median(further)
        figure = f"{each * 1e6:.0f} µs, {first * 1e3:.0f} ms for the first"
        yield Measured(f"checkout of {FILES:,} files, each further run", each, first, figure, "≤ 5 ms", each <= 0.005)
        pinned, trees = _drained(place / "pinned", source)
        in_place, _ = _drained(place / "in_place", Source(folder=str(repository), in_place=True))
    more = (pinned - in_place) / RUNS
    figure = f"{more * 1e3:+.2f} ms a run, {trees} checkout{'s' if trees != 1 else ''}"
    met = more <= 0.005 and trees == 1
    yield Measured(f"  agent, {RUNS} runs of one commit", pinned, in_place, figure, "≤ 5 ms, 1", met)


def _repository(place: Path) -> Path:
    for number in range(FILES):
        file = place / f"package_{number % 40}/module_{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"value = {number}\n" * 100, encoding="utf-8")
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message", "bench"]):
        subprocess.run(["git", *words], cwd=place, check=True)
    return place


def _seconds(shared: Checkouts, source: Source) -> float:
    began = time.perf_counter()
    shared.of(source)
    return time.perf_counter() - began


def _drained(place: Path, source: Source) -> tuple[float, int]:
    """Seconds that an agent takes for all runs once the code is there, and how many checkouts there are then."""
    store = SqliteStore(f"sqlite:///{place}/store.db")
    fields = source.fields()
    document = {
        "entity": "", "project": "", "docker": {}, "resource": "local-process", "overrides": {"entry_point": ["true"]},
        **fields,
    }  # fmt: skip
    store.push(Sweep("s"), (LaunchSpec(document) for _ in range(RUNS)), again=True)
    warm = Checkouts(place / "sources", store.patch)
    warm.of(source)
    warm.close()
    began = time.perf_counter()
    Agent(store, place, max_jobs=2, drain=True).run()
    taken = time.perf_counter() - began
    store.close()
    return taken, sum(path.is_dir() for path in place.glob("sources/trees/*"))
