"""The benchmarks: each takes its peer's time and ours in turn, and keeps medians."""

from __future__ import annotations

import itertools
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.agent import Agent, AgentEvent
from launcher.item import Sweep
from launcher.queues import open_store
from launcher.queues.sqlite import SqliteStore
from launcher.spec import LaunchSpec

CHECKOUT = Path(__file__).resolve().parents[2]
ROUNDS = 7


@dataclass(frozen=True)
class Measured:
    """One figure beside its budget. `ours` and `peer` are seconds (per unit where the name says so)."""

    what: str
    ours: float
    peer: float | None
    figure: str
    budget: str
    met: bool

    def record(self) -> dict[str, Any]:
        return {"what": self.what, "ours_s": self.ours, "peer_s": self.peer, "budget": self.budget, "met": self.met}


def run(*command: str, **env: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=CHECKOUT, env={**os.environ, **env})
    return time.perf_counter() - began


def in_turn(ours: Callable[[], float], peer: Callable[[], float], rounds: int = ROUNDS) -> tuple[float, float]:
    """The medians of both, measured A B A B …, after one warm-up each."""
    ours(), peer()
    pairs = [(ours(), peer()) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def cold_start() -> Iterator[Measured]:
    """`launcher status` as a whole process against `import hydra`."""
    with folder() as place:
        url = f"sqlite:///{place}/store.db"
        open_store(url).close()
        program = str(Path(sys.executable).parent / "launcher")
        ours, peer = in_turn(
            lambda: run(program, "status", LAUNCHER_STORE=url), lambda: run(sys.executable, "-c", "import hydra")
        )
    yield Measured(
        "launcher status, cold", ours, peer, f"{ours / peer:.2f}× of import hydra", "≤ 0.5×", ours <= 0.5 * peer
    )


def specs(count: int) -> Iterator[LaunchSpec]:
    """Specs of about 1 kB that differ in two leaves, and share the objects of all others, as those of a grid do."""
    shared = {f"key_{number}": number / 7 for number in range(35)}
    for seed in range(count):
        config = shared | {"seed": seed, "name": f"run-{seed}"}
        overrides = {"entry_point": ["python", "train.py"], "args": [f"seed={seed}"], "run_config": config}
        document = {"entity": "", "project": "p", "docker": {}, "git": {}, "overrides": overrides, "resource": None}
        yield LaunchSpec(document, point=(f"seed={seed}",))


def push() -> Iterator[Measured]:
    """A durable push of 20,000 specs of 1 kB against a bare executemany of the rows it made: into the same table, and
    into one without keys, checks and indexes."""
    count = 20_000
    ready = list(specs(count))

    def ours() -> float:
        with folder() as place:
            store = SqliteStore(f"sqlite:///{place}/store.db")
            began = time.perf_counter()
            store.push(Sweep("s"), ready)
            taken = time.perf_counter() - began
            store.close()
            return taken

    def bare(table: str) -> float:
        with folder() as place:
            store = SqliteStore(f"sqlite:///{place}/store.db")
            store.push(Sweep("s"), ready)
            file = sqlite3.connect(place / "store.db", isolation_level=None)
            file.execute("PRAGMA synchronous = FULL")
            rows = file.execute("SELECT * FROM items").fetchall()
            file.execute("CREATE TABLE bare AS SELECT * FROM items WHERE false")
            file.execute("DELETE FROM items")
            marks = ", ".join("?" * len(rows[0]))
            began = time.perf_counter()
            file.execute("BEGIN IMMEDIATE")
            file.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - a table of ours
            file.execute("COMMIT")
            taken = time.perf_counter() - began
            file.close()
            store.close()
            return taken

    for table, where in (("items", "the same table"), ("bare", "a table without indexes")):
        ours_s, peer_s = in_turn(ours, lambda table=table: bare(table), rounds=3)  # type: ignore[misc]
        share = peer_s / ours_s
        figure = f"{share:.0%} of an executemany into {where}"
        yield Measured(f"push, 20,000 specs of 1 kB, beside {where}", ours_s, peer_s, figure, "≥ 50 %", share >= 0.5)


def agent() -> Iterator[Measured]:
    """Runs of `python -c pass`, everything included, against `xargs -P2`. Nothing is deleted between the rounds: some
    file systems pass over each inode that was freed within the last minutes, one by one."""
    count = 200
    python = sys.executable

    def ours(place: Path) -> float:
        store = SqliteStore(f"sqlite:///{place}/store.db")
        document = {
            "entity": "", "project": "", "docker": {}, "git": {}, "resource": "local-process", "uri": str(place),
            "overrides": {"entry_point": [python, "-c", "pass"], "run_config": {"a": 1}},
        }  # fmt: skip
        store.push(Sweep("s"), (LaunchSpec(document) for _ in range(count)), again=True)
        began = time.perf_counter()
        Agent(store, place, max_jobs=2, drain=True).run()
        taken = time.perf_counter() - began
        store.close()
        return taken

    def xargs() -> float:
        lines = "\n".join(["pass"] * count)
        began = time.perf_counter()
        subprocess.run(["xargs", "-P2", "-n1", python, "-c"], input=lines, text=True, check=True)
        return time.perf_counter() - began

    with folder() as place:
        numbers = itertools.count()
        ours_s, peer_s = in_turn(lambda: ours(place / str(next(numbers))), xargs, rounds=3)
    share = peer_s / ours_s
    figure = f"{share:.0%} of xargs -P2 ({count / ours_s:.0f} runs/s)"
    yield Measured("agent, python -c pass", ours_s / count, peer_s / count, figure, "≥ 70 %", share >= 0.7)


def pickup() -> Iterator[Measured]:
    """From the push of an item to the start of its process, with an idle agent."""
    with folder() as place:
        yield pickup_from(f"sqlite:///{place}/store.db", place, "pickup by an idle agent, p95")


def pickup_from(url: str, place: Path, what: str) -> Measured:
    """The same, over the store of this URL."""
    started: list[float] = []
    heard = threading.Event()

    def listen(event: AgentEvent) -> None:
        if event.kind == "started":
            started.append(time.perf_counter())
        if event.kind == "ended":
            heard.set()

    store = open_store(url)
    document = {
        "entity": "", "project": "", "docker": {}, "git": {}, "resource": "local-process", "uri": str(place),
        "overrides": {"entry_point": ["true"]},
    }  # fmt: skip
    worker = Agent(store, place, listen=listen)
    thread = threading.Thread(target=worker.run)
    thread.start()
    waits = []
    for _ in range(100):
        heard.clear()
        time.sleep(0.013)
        store.push(None, [LaunchSpec(document)])
        pushed = time.perf_counter()
        heard.wait(10)
        waits.append(started[-1] - pushed)
    worker.stop()
    thread.join()
    store.close()
    p95 = sorted(waits)[94]
    return Measured(what, p95, None, f"{p95 * 1000:.0f} ms", "≤ 50 ms", p95 <= 0.05)


SPECS = 100_000


def validate() -> Iterator[Measured]:
    """Specs of 1 kB that share nothing, through the check that launch_add makes; its peer is Python's jsonschema."""
    import jsonschema

    from launcher import schema

    documents = [_spec_of_1_kb(number) for number in range(SPECS)]

    def ours() -> float:
        began = time.perf_counter()
        assert not any(schema.problems(document) for document in documents)
        return time.perf_counter() - began

    def peer() -> float:
        validator = jsonschema.Draft202012Validator(schema._load("launch_spec"))
        few = documents[: SPECS // 100]
        began = time.perf_counter()
        assert all(validator.is_valid(document) for document in few)
        return (time.perf_counter() - began) * 100

    took, slow = in_turn(ours, peer, rounds=3)
    figure = f"{took:.2f} s, {slow / took:.0f}x jsonschema"
    yield Measured(f"validate {SPECS:,} specs of 1 kB", took, slow, figure, "<= 1 s", took <= 1.0)


def _spec_of_1_kb(number: int) -> dict[str, Any]:
    model = {"name": "svm", "kernel": "rbf", "c": 1.0, "layers": [64, 64, 32]}
    optim = {"name": "adamw", "lr": 0.1 * number, "betas": [0.9, 0.999], "weight_decay": 1e-4, "schedule": "cosine"}
    data = {"root": "/data/digits", "workers": 8, "augment": ["flip", "crop"], "split": {"train": 0.8, "test": 0.2}}
    trainer = {"epochs": 90, "devices": 4, "clip": 1.0, "resume": None, "checkpoint": {"every": 5, "keep": 3}}
    run_config = {"model": model, "optim": optim, "data": data, "trainer": trainer, "seed": number, "note": "x" * 180}
    repo = "https://host.invalid/team/repo.git"
    return {
        "entity": "team", "project": "demo", "author": "ann", "docker": {}, "git": {"version": "a" * 40, "repo": repo},
        "uri": repo, "resource": "slurm", "name": f"run-{number}", "resource_args": {"slurm": {"gpus": 4}},
        "overrides": {
            "entry_point": ["python", "train.py"], "args": [f"seed={number}", "model=svm"], "run_config": run_config,
        },
    }  # fmt: skip
