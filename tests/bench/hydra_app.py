"""What launching a Hydra app's multirun costs until its jobs are queued, and what the plugin costs when unused."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import CHECKOUT, Measured, folder

POINTS = 1000
APP = """
import os
import hydra
import joblib, submitit

def submitted(*_, **__):  # the moment before a peer has its first job submitted: all of them is later
    os._exit(0)

joblib.Parallel.__call__ = submitted
submitit.AutoExecutor.map_array = submitted

@hydra.main(version_base=None, config_path={conf!r}, config_name="config")
def main(cfg): return 0.0
main()
"""
SCAN = """
from hydra.core.plugins import Plugins
times = Plugins.instance().get_stats().modules_import_time
print(sum(seconds for name, seconds in times.items() if "launch_queue" in name))
"""


def multirun() -> Iterator[Measured]:
    """`python app.py -m` over 1,000 points until it returns, against two launchers until their first job."""
    conf = CHECKOUT.parent / "shared/bench-config/conf"
    if not conf.is_dir():
        conf = CHECKOUT / "conf"
    with folder() as place:
        app = place / "app.py"
        app.write_text(APP.format(conf=str(conf)))
        starts = statistics.median(_launch(app, place, "basic", 0) for _ in range(3))
        ours = [_launch(app, place, "launch_queue", POINTS) - starts for _ in range(3)]
        peers = {peer: _extrapolated(app, place, peer) - starts for peer in ("submitit_local", "joblib")}
    ours_s = statistics.median(ours)
    for peer, peer_s in peers.items():
        figure = f"{ours_s:.1f} s, {peer} {peer_s:.0f} s"
        yield Measured(f"-m over {POINTS:,} points, {peer}", ours_s, peer_s, figure, "≤ 3 s", ours_s <= 3)


def _extrapolated(app: Path, place: Path, launcher: str) -> float:
    few, many = _launch(app, place, launcher, 10), _launch(app, place, launcher, 50)
    return few + (many - few) / 40 * (POINTS - 10)


def _launch(app: Path, place: Path, launcher: str, points: int) -> float:
    """Seconds of a multirun over so many points; 0: of one run that only starts."""
    words = ["-m", f"hydra/launcher={launcher}", f"seed=range({points})"] if points else ["--cfg", "job"]
    began = time.perf_counter()
    command = [sys.executable, str(app), *words, *([f"hydra.sweep.dir={place}/{launcher}-{began}"] if points else [])]
    env = {"LAUNCHER_STORE": f"sqlite:///{place}/{began}.db", "PATH": "/usr/bin:/bin"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env, cwd=place)
    return time.perf_counter() - began


def plugin() -> Iterator[Measured]:
    """What Hydra itself measures for importing the plugin, in an app that does not use it."""
    taken = []
    for _ in range(9):
        done = subprocess.run([sys.executable, "-c", SCAN], check=True, capture_output=True, text=True, cwd="/")
        taken.append(float(done.stdout))
    ours = statistics.median(taken)
    yield Measured("the plugin, unused", ours, None, f"{ours * 1000:.1f} ms", "≤ 15 ms", ours <= 0.015)
