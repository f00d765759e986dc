"""What the jobs of a multirun know of it, and what tells them apart."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from launcher.compose import Point
from launcher.dispatcher import Dispatcher
from launcher.hydra_app.master import VARIABLE, Job, Master
from launcher.item import QueueInfo
from launcher.spec import LaunchArguments, LaunchSpec

QUEUES = {"default": QueueInfo("default", "local-process")}


def specs(master: Master, points: list[Point], **options: Any) -> list[LaunchSpec]:
    jobs = master.jobs(points, 0, Counter(), named=True)
    overlay = LaunchArguments(docker_image="i", resource="local-container", entry_point=["app"], **options)
    return list(Dispatcher(QUEUES).specs(jobs, overlay))


def point(*overrides: str, **launch: Any) -> Point:
    return Point(overrides, {"lr": 1, "launch": launch})


def master(**fields: Any) -> Master:
    return Master(**{"overrides": ("hydra.job.chdir=true",), "task": (), "sweep_dir": "/out", "cwd": "/", **fields})


def test_a_run_reads_what_was_written_for_it() -> None:
    cache = (("now", ("%H", "%S"), "12"), ("own", (), None))
    written = master(cache=cache, env={"A": "b"}, wait=True)
    [_, second] = specs(written, [point("lr=1"), point("lr=2")])
    job = Job.of_environment({VARIABLE: json.dumps(second.document["hydra"])})
    assert job.num == 1
    assert job.resolver_cache() == {"now": {("%H", "%S"): "12"}, "own": {(): None}}
    assert (job.master.sweep_dir, job.master.env, job.master.wait) == ("/out", {"A": "b"}, True)


def test_a_point_that_is_asked_for_again_is_another_run_and_the_same_one_the_next_time() -> None:
    first = [spec.fingerprint() for spec in specs(master(), [point("lr=1"), point("lr=2"), point("lr=1")])]
    assert len(set(first)) == 3
    later = master(sweep_dir="/later", cwd="/elsewhere", wait=True, env={"A": "b"})
    assert [spec.fingerprint() for spec in specs(later, [point("lr=1"), point("lr=1"), point("lr=2")])] == [
        first[0], first[2], first[1],
    ]  # fmt: skip


def test_hydras_own_overrides_tell_runs_apart_unless_they_are_about_launching() -> None:
    def fingerprint(*overrides: str) -> str:
        return specs(master(overrides=overrides), [point()])[0].fingerprint()

    assert fingerprint("hydra/launcher=launch_queue", "hydra.sweep.dir=x", "+hydra.launcher.retry.n=1") == fingerprint()
    assert fingerprint("hydra.job.chdir=true") != fingerprint()


def test_paths_that_the_config_or_the_options_ignore_are_ignored_too() -> None:
    ignoring = master(ignore=("overrides.run_config.lr",))
    [spec] = specs(ignoring, [point(fingerprint={"ignore": ["name"]})])
    assert spec.document["fingerprint"] == {"ignore": ["name", "overrides.run_config.lr", "hydra.run"]}


def test_options_of_the_app_stand_before_the_overrides() -> None:
    [spec] = specs(master(flags=("--config-name=x",)), [point("lr=1", args=["--no", "${overrides}"])])
    assert spec.command() == ["app", "--config-name=x", "lr=1"]
