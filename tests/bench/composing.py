"""What a point costs: composing against `hydra.compose`, and `launcher add` end to end against Hydra's multirun."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import CHECKOUT, Measured, folder, in_turn

SHARED = CHECKOUT.parent / "shared"
APP = """
import hydra
@hydra.main(version_base=None, config_path={conf!r}, config_name={name!r})
def main(cfg): return 0.0
main()
"""

# what, repository, config, grid, how many times hydra.compose's speed
GRIDS = [
    ("bench, seed × lr", "bench-config/conf", "config", ["seed=range(50000)", "lr=0.1,0.01"], 1000),
    (
        "bench, 3 × 4 choices × 1,000", "bench-config/conf", "config",
        ["model=mlp,resnet,vit", "trainer=cpu,gpu", "optim=adam,sgd", "seed=range(1000)"], 300,
    ),
    (
        "verl, keys nothing refers to", "config-repos/verl", "ppo_trainer",
        ["trainer.total_epochs=range(50000)", "data.seed=1,2"], 5000,
    ),
    (
        "verl, keys many refer to", "config-repos/verl", "ppo_trainer",
        ["actor_rollout_ref.rollout.n=range(1,50001)", "trainer.project_name=a,b"], 1000,
    ),
    (
        "lightning template, seed × lr", "config-repos/lightning-hydra-template", "train",
        ["seed=range(50000)", "model.optimizer.lr=0.1,0.01"], 1000,
    ),
]  # fmt: skip


def compose() -> Iterator[Measured]:
    """Points of value-only grids, and of one over groups, per second against `hydra.compose`."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    from launcher import compose_grid

    os.environ.setdefault("PROJECT_ROOT", "/nowhere")
    for what, repository, name, grid, budget in GRIDS:
        conf = SHARED / repository
        if not conf.is_dir():
            continue
        first = [re.sub(r"=(range\(.*|(\w[\w.]*),.*)", lambda m: f"={m[2] or 1}", override) for override in grid]

        def ours(conf: Path = conf, name: str = name, grid: list[str] = grid) -> float:
            began = time.perf_counter()
            count = sum(1 for _ in compose_grid(config_dir=conf, config_name=name, overrides=grid))
            return (time.perf_counter() - began) / count

        def peer(conf: Path = conf, name: str = name, first: list[str] = first) -> float:
            with initialize_config_dir(str(conf), version_base=None):
                began = time.perf_counter()
                for _ in range(5):
                    OmegaConf.to_container(hydra_compose(name, first))
                return (time.perf_counter() - began) / 5

        ours_s, peer_s = in_turn(ours, peer, rounds=3)
        times = peer_s / ours_s
        figure = f"{ours_s * 1e6:.0f} µs a point, {times:,.0f}× hydra.compose"
        yield Measured(f"compose, {what}", ours_s, peer_s, figure, f"≥ {budget:,}×", times >= budget)


def end_to_end() -> Iterator[Measured]:
    """100,000 points composed, checked and queued: time against `python app.py -m` with a no-op job, memory, disk."""
    conf = SHARED / "bench-config/conf"
    if not conf.is_dir():
        return
    with folder() as place:
        app = place / "app.py"
        app.write_text(APP.format(conf=str(conf), name="config"))
        small, large = _add(conf, place / "small.db", 10_000), _add(conf, place / "large.db", 100_000)
        few, many = (_multirun(app, place / str(jobs), jobs) for jobs in (5, 25))
        peer_s = (many - few) / 20
    ours_s = large["seconds"] / 100_000
    times, more = peer_s / ours_s, large["megabytes"] - small["megabytes"]
    figure = f"{ours_s * 1e6:.0f} µs a point, {times:,.0f}× app.py -m"
    yield Measured("add, 100,000 points", ours_s, peer_s, figure, "≥ 1,000×", times >= 1000)
    memory = f"{large['megabytes']:.0f} MB, {more:.0f} MB more than for 10,000"
    met = large["megabytes"] <= 200 and more <= 20
    yield Measured("  peak memory", large["megabytes"], small["megabytes"], memory, "≤ 200, ≤ 20 MB", met)
    yield Measured("  on disk", large["disk"], None, f"{large['disk']:.0f} MB", "≤ 150 MB", large["disk"] <= 150)


def _add(conf: Path, store: Path, points: int) -> dict[str, float]:
    grid = [f"seed=range({points // 2})", "lr=0.1,0.01"]
    words = ["add", "-m", *grid, "--yes", "-cd", str(conf), "--store", f"sqlite:///{store}", "--", "python", "app.py"]
    command = [sys.executable, str(Path(__file__).with_name("add_once.py")), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=store.parent)
    disk = sum(file.stat().st_size for file in store.parent.glob(f"{store.name}*")) / 1e6
    return {**json.loads(done.stdout.splitlines()[-1]), "disk": disk}


def _multirun(app: Path, out: Path, jobs: int) -> float:
    """Seconds of Hydra's multirun over `jobs` values of one key."""
    began = time.perf_counter()
    command = [sys.executable, str(app), "-m", f"seed=range({jobs})", f"hydra.sweep.dir={out}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began
