"""The server and the store `wandb`, in one run: our dispatcher beside W&B's launch_add in a loop, at three latencies;
and the server under a crowd of clients."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher.queues import open_store
from tests.bench.measure import CHECKOUT, Measured, folder

LATENCIES = {0.0: 10, 0.05: 30, 0.1: 30}
"""Seconds added to each request, and how many times faster than launch_add we mean to be."""

CROWDS = (16, 50, 200)
SECONDS = 3.0
ROUNDS = 5


@dataclass(frozen=True)
class Server:
    """A `launcher serve` of its own: its port, its store and what its clients need in their environment."""

    port: int
    store: str
    environ: dict[str, str]

    def program(self, *arguments: str, port: int | None = None) -> str:
        """What a program of loading.py prints."""
        url = f"http://127.0.0.1:{port or self.port}"
        more = {"WANDB_BASE_URL": url, "LAUNCHER_STORE": f"wandb+{url}/team"}
        command = [sys.executable, "-m", "tests.bench.loading", *arguments]
        done = subprocess.run(
            command, env={**self.environ, **more}, cwd=CHECKOUT, check=True, capture_output=True, text=True
        )
        return done.stdout.splitlines()[-1]


@contextmanager
def served(where: Path) -> Iterator[Server]:
    store = f"sqlite:///{where}/store.db"
    command = [sys.executable, "-m", "launcher"]
    add = [*command, "user", "add", "ann", "--entity", "team:admin", "--store", store]
    key = subprocess.run(add, check=True, capture_output=True, text=True, cwd=CHECKOUT).stdout.strip()
    create = [*command, "queue", "create", "gpu", "--resource", "local-container", "--store", store]
    subprocess.run(create, check=True, capture_output=True, cwd=CHECKOUT)
    serve = [*command, "serve", "--port", "0", "--entity", "team", "--store", store]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    assert server.stdout
    port = int(server.stdout.readline().split(" (")[0].rpartition(":")[2])
    environ = {
        **os.environ, "WANDB_API_KEY": key, "XDG_DATA_HOME": str(where / "data"), "WANDB_ERROR_REPORTING": "false",
        "WANDB_DIR": str(where), "HOME": str(where), "WANDB_SILENT": "true",
    }  # fmt: skip
    try:
        yield Server(port, store, environ)
    finally:
        server.terminate()
        server.wait()


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.loading", "delay", str(port), str(seconds)]
    proxy = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    assert proxy.stdout
    assert proxy.stdin
    try:
        yield int(proxy.stdout.readline())
    finally:
        proxy.stdin.close()
        proxy.wait()


def dispatching() -> Iterator[Measured]:
    """Seconds an item, ours and W&B's, in turn at each latency."""
    for seconds, times in LATENCIES.items():
        with folder() as where, served(where) as server, delayed(server.port, seconds) as port:
            calls = "100" if not seconds else "20"
            pairs = [
                (float(server.program("ours", "2000", port=port)), float(server.program("wandb", calls, port=port)))
                for _ in range(3)
            ]
        ours, peer = (statistics.median(column) for column in zip(*pairs, strict=True))
        what = f"add to a W&B server, per item, {seconds * 1000:g} ms latency"
        figure = f"{ours * 1000:.2f} ms, launch_add {peer * 1000:.1f} ms: {peer / ours:.0f}×"
        yield Measured(what, ours, peer, figure, f">= {times}x", peer / ours >= times)


def serving() -> Iterator[Measured]:
    """Pushes a second of a server with ever more clients; none may be lost."""
    with folder() as where, served(where) as server:
        rounds = [
            {number: json.loads(server.program("crowd", str(number), str(SECONDS))) for number in CROWDS}
            for _ in range(ROUNDS)
        ]
        with closing(open_store(server.store)) as store:
            kept = sum(count.number for count in store.counts())
    pushed = sum(each["pushed"] for told in rounds for each in told.values())
    middle = {
        number: {name: statistics.median(told[number][name] for told in rounds) for name in ("rate", "p50", "p99")}
        for number in CROWDS
    }
    best = max(each["rate"] for each in middle.values())
    for number, each in middle.items():
        figure = f"{each['rate']:.0f}/s, p50 {each['p50'] * 1000:.0f} ms, p99 {each['p99'] * 1000:.0f} ms"
        share = each["rate"] / best
        yield Measured(f"server, {number} clients", 1 / each["rate"], None, figure, ">= 95% of best", share >= 0.95)
    yield Measured(
        "server, items lost", float(pushed - kept), None, f"{pushed - kept} of {pushed}", "0", kept == pushed
    )
