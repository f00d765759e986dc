"""The web page over a store of 1,000,000 items in 200 sweeps: how long its pages take, and what an open one costs the
server while nothing changes and while items end."""

from __future__ import annotations

import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from launcher.item import ItemFilter, RunState, Sweep
from launcher.outcome import Finished
from launcher.queues import open_store
from tests.bench.measure import Measured, folder
from tests.bench.seeing import spec

SWEEPS = 200
ITEMS = 5000
"""Of each sweep."""

ASKED = 100
OPEN_SECONDS = 30.0

Page = Callable[[random.Random], str]


def pages() -> Iterator[Measured]:
    """The 95th percentile of each kind of page, asked for at random, and what share of a core an open one takes."""
    with folder() as place:
        url = f"sqlite:///{place}/store.db"
        ids = fill(url)
        sweep: Page = lambda chance: f"/sweeps/sweep-{chance.randrange(SWEEPS)}"  # noqa: E731
        kinds: dict[str, Page] = {
            "overview": lambda _: "/",
            "a sweep": sweep,
            "a sweep, sorted and filtered": lambda chance: (
                f"{sweep(chance)}?sort=loss&order=asc&where=model%3Dsvm&page=3"
            ),
            "an item": lambda chance: f"/items/{chance.choice(ids)}",
            "a question": lambda chance: f"/do/cancel/items/{chance.choice(ids)}",
        }
        with served(url) as (address, process):
            for name, page in kinds.items():
                before = _cpu(process.pid)
                took = percentile(address, page)
                cpu = (_cpu(process.pid) - before) / (ASKED + 1)
                figure = f"{took * 1e3:.0f} ms ({cpu * 1e3:.0f} ms of CPU)"
                what = f"page, {name}, {SWEEPS * ITEMS:,} items, p95"
                yield Measured(what, took, None, figure, "≤ 200 ms", took <= 0.2)
            time.sleep(3)
            before = _cpu(process.pid)
            time.sleep(OPEN_SECONDS)
            idle = (_cpu(process.pid) - before) / OPEN_SECONDS
            yield Measured("server without open pages, of a core", idle, None, f"{idle:.2%}", "≤ 1 %", idle <= 0.01)
            chance = random.Random(1)  # noqa: S311 - a sample
            for name in ("overview", "a sweep", "an item"):
                path = f"/items/{ids[0]}" if name == "an item" else kinds[name](chance)
                yield _opened(name, address + _stream(address + path), process.pid, None)
            yield _opened("a sweep whose items end", f"{address}/live/sweeps/sweep-1", process.pid, url)


def fill(url: str) -> list[str]:
    """A store with ended sweeps, a tenth of their items failed, a few waiting; some IDs of its items, first of one that
    waits: the pages of others hold no stream."""
    store: Any = open_store(url)
    for number in range(SWEEPS):
        store.push(Sweep(f"sweep-{number}", "accuracy"), map(spec, range(ITEMS)))
    with store._session() as db:
        db.execute(
            """UPDATE items SET attempt = 1, started_at = added_at + 1, finished_at = added_at + 9,
                run_dir = '/runs/' || id, state = iif(seq % 10 = 0, 'failed', 'finished'),
                stage = iif(seq % 10 = 0, 'run', NULL),
                reason = iif(seq % 10 = 0, 'exit code 1: ValueError: bad value (train.py:9 in fit)', NULL),
                result = iif(
                    seq % 10 = 0, NULL,
                    '{"accuracy":0.' || (seq * 7919 % 10000) || ',"loss":0.' || (seq * 31 % 997) || '}'
                )
            WHERE seq % 50 <> 1"""
        )
    chance = random.Random(2)  # noqa: S311 - a sample
    found = [item for name in (3, 99) for item in store.items(ItemFilter(sweep=f"sweep-{name}"))]
    store.close()
    waiting = next(item for item in found if item.state is RunState.PENDING)
    return [item.id for item in (waiting, *chance.sample(found, 1000))]


@contextmanager
def served(url: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    program = str(Path(sys.executable).parent / "launcher")
    command = [program, "serve", "--port", "0", "--store", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().split()[1], process
    finally:
        process.terminate()
        process.wait()


def percentile(address: str, page: Page) -> float:
    """The 95th percentile of what a page takes, whole, in seconds; one that was asked for before, for the start."""
    session, chance, took = requests.Session(), random.Random(3), []  # noqa: S311 - a sample
    session.get(address + page(random.Random(4)), timeout=60).raise_for_status()  # noqa: S311 - a sample
    for _ in range(ASKED):
        path = page(chance)
        began = time.perf_counter()
        session.get(address + path, timeout=60).raise_for_status()
        took.append(time.perf_counter() - began)
    return statistics.quantiles(took, n=20)[-1]


def _stream(address: str) -> str:
    found = re.search(r'data-stream="([^"]+)"', requests.get(address, timeout=60).text)
    assert found
    return found[1].replace("&amp;", "&")


def _opened(name: str, address: str, pid: int, ending: str | None) -> Measured:
    """The share of a core that the server takes while a stream is open; while items of its sweep end, where a store is
    given."""
    with requests.get(address, stream=True, timeout=60) as response:
        threading.Thread(target=_read, args=(response,), daemon=True).start()
        before, began = _cpu(pid), time.monotonic()
        while time.monotonic() < began + OPEN_SECONDS:
            if ending:
                _end_some(ending)
            time.sleep(1)
        share = (_cpu(pid) - before) / (time.monotonic() - began)
    return Measured(f"page kept open, {name}, of a core", share, None, f"{share:.2%}", "≤ 1 %", share <= 0.01)


def _read(response: requests.Response) -> None:
    with suppress(requests.RequestException, AttributeError):  # it is closed while it is read
        for _ in response.iter_lines():
            pass


def _end_some(url: str) -> None:
    store = open_store(url)
    leases = store.pop("bench", ["default"], 5)
    store.finish((lease, Finished({"accuracy": 0.5})) for lease in leases)
    store.close()


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
