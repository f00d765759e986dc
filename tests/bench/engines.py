"""What it costs to hand many runs to Slurm and Ray, and what a run costs there; with clusters of their own."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.runners import Handle, Runner, node, slurm_cluster
from launcher.runners.engines import write_request
from tests.bench.measure import CHECKOUT, Measured, folder
from tests.ray_cluster import RayCluster
from tests.runners.contract import Place, submitted
from tests.slurm import SlurmCluster

RUNS = 2000
NOOPS = 1000
SAMPLE = 200
MEBIBYTE = 2**20
APP = """
import os, hydra, submitit
array = submitit.AutoExecutor.map_array

def submitted(*given, **named):
    array(*given, **named)
    os._exit(0)

submitit.AutoExecutor.map_array = submitted

@hydra.main(version_base=None, config_path={conf!r}, config_name="config")
def main(cfg): return 0.0
main()
"""


def slurm() -> Iterator[Measured]:
    """2,000 runs until Slurm has them all, and 1,000 runs of nothing, packed and not."""
    cluster = SlurmCluster("MaxJobCount=20000")
    os.environ["SLURM_CONF"] = str(cluster.config)
    try:
        with folder() as place:
            yield from _submission(place)
            cluster.clear()
            yield from _packing(place)
    finally:
        del os.environ["SLURM_CONF"]
        cluster.close()
    yield _wrapper()


def _submission(place: Path) -> Iterator[Measured]:
    store = f"sqlite:///{place}/store.db"
    conf = CHECKOUT.parent / "shared/bench-config/conf"
    conf = conf if conf.is_dir() else CHECKOUT / "conf"
    (place / "app.py").write_text(APP.format(conf=str(conf)))
    (place / "queues.yaml").write_text("- {name: slurm, resource: slurm, resource_args: {slurm: {hold: true}}}\n")
    _launcher(store, "queue", "apply", str(place / "queues.yaml"))
    began = time.perf_counter()
    _launcher(store, "add", "--queue", "slurm", "-cd", str(conf), "-m", f"seed=range({RUNS})", "--", "true")
    _launcher(store, "agent", "--submit-only")
    ours = time.perf_counter() - began
    few, many = (_submitit(place, count) for count in (10, 50))
    peer = few + (many - few) / 40 * (RUNS - 10)
    figure = f"{ours:.1f} s, hydra-submitit {peer:.0f} s (×{peer / ours:.0f})"
    yield Measured(f"{RUNS:,} runs handed to Slurm", ours, peer, figure, "≥ 20× submitit", peer >= 20 * ours)

    calls: list[str] = []
    asked = slurm_cluster.ask

    def counted(*argv: str, **given: Any) -> slurm_cluster.Answer:
        calls.append(argv[0])
        return asked(*argv, **given)

    held = Place(place / "calls", "slurm", {"resource_args": {"hold": True}})
    with held.runner() as runner:
        slurm_cluster.ask = counted
        handles = _submitted(held, runner, RUNS)
        submits = calls.count("sbatch")
        calls.clear()
        began = time.perf_counter()
        runner.poll(handles)
        polled = time.perf_counter() - began
        slurm_cluster.ask = asked
    met = submits <= 4 and calls == ["squeue"]
    figure = f"{submits} sbatch, {len(calls)} call a poll of {polled:.2f} s"
    yield Measured(f"{RUNS:,} runs: calls of Slurm", polled, None, figure, "≤ 4, ≤ 1", met)


def _submitit(place: Path, points: int) -> float:
    began = time.perf_counter()
    command = [sys.executable, "app.py", "-m", f"seed=range({points})", "hydra/launcher=submitit_slurm"]
    more = ["hydra.launcher.timeout_min=1", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=null"]
    subprocess.run([*command, *more], cwd=place, check=True, capture_output=True)
    return time.perf_counter() - began


def _launcher(store: str, *arguments: str) -> None:
    command, env = [sys.executable, "-m", "launcher", *arguments], {**os.environ, "LAUNCHER_STORE": store}
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, env=env)


def _submitted(place: Place, runner: Runner, count: int) -> dict[str, Handle]:
    requests = [place.request(runner, "true") for _ in range(count)]
    return dict(zip((request.token for request in requests), submitted(runner, requests), strict=True))  # type: ignore[arg-type]


def _until_all_ended(runner: Runner, handles: dict[str, Handle]) -> None:
    left = dict(handles)
    while left:
        for token, outcome in runner.poll(left).items():
            if outcome:
                del left[token]
        time.sleep(0.05)


def _noops(root: Path, count: int, **arguments: Any) -> float:
    place = Place(root, "slurm", {"resource_args": arguments}, {"poll_seconds": 0.5})
    with place.runner() as runner:
        requests = [place.request(runner, "true") for _ in range(count)]
        began = time.perf_counter()
        handles = dict(zip((request.token for request in requests), submitted(runner, requests), strict=True))
        _until_all_ended(runner, handles)  # type: ignore[arg-type]
        return time.perf_counter() - began


def _packing(place: Path) -> Iterator[Measured]:
    packed = _noops(place / "packed", NOOPS, pack=20)
    alone = _noops(place / "alone", SAMPLE) * NOOPS / SAMPLE
    figure = f"{packed:.1f} s, one task each {alone:.0f} s (×{alone / packed:.1f}; of {SAMPLE})"
    yield Measured(f"{NOOPS:,} runs of nothing, pack: 20", packed, alone, figure, "≥ 10×", alone >= 10 * packed)


def _wrapper() -> Measured:
    """The program on the node against the run's command alone."""
    with folder() as root:
        place = Place(root, "slurm", {})
        with place.runner() as runner:
            times: dict[str, list[float]] = {"node": [], "bare": []}
            for _ in range(50):
                request: Any = place.request(runner, "true")
                write_request(request)
                for name, command in (
                    ("node", [sys.executable, "-I", "-S", node.__file__, "--", str(request.folder)]),
                    ("bare", ["true"]),
                ):
                    began = time.perf_counter()
                    subprocess.run(command, check=True)
                    times[name].append(time.perf_counter() - began)
    ours, bare = (statistics.median(times[name]) for name in ("node", "bare"))
    figure = f"{1000 * (ours - bare):.0f} ms"
    return Measured("the node's program, a run", ours, bare, figure, "≤ 30 ms", ours - bare <= 0.03)


def ray() -> Iterator[Measured]:
    """1,000 runs of nothing, and the memory of the driver that starts them."""
    cluster = RayCluster()
    try:
        with folder() as root:
            place = Place(root, "ray", {"resource_args": {"address": cluster.address}}, {"poll_seconds": 0.5})
            with place.runner() as runner:
                began = time.perf_counter()
                _until_all_ended(runner, _submitted(place, runner, NOOPS))
                took = time.perf_counter() - began
                used = max(_memory(pid) for pid in _pids(b"ray::Driver"))
    finally:
        cluster.close()
    figure = f"{took:.0f} s, driver {used / MEBIBYTE:.0f} MiB"
    yield Measured(f"{NOOPS:,} runs of nothing on Ray", took, None, figure, "≤ 300 MB", used <= 300e6)


def _pids(title: bytes) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if title in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _memory(pid: int) -> float:
    told = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert told
    return float(told[1]) * 1024
