"""ray keeps the runners' contract, on a real cluster; and what only Ray has: a driver that outlives agents, nodes that
are killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import NoRoomError
from launcher.outcome import Cancelled, Finished, Lost
from launcher.runners import Runner, engines
from launcher.runners.ray_link import NAMESPACE, driver_name
from tests.conftest import until
from tests.ray_cluster import RayCluster
from tests.runners.contract import Place, outcome, processes, submitted
from tests.runners.engine_contract import EngineContract, begun, go

SOON = {"poll_seconds": 0.1}


def made(root: Path, address: str) -> Place:
    return Place(root / "runs", "ray", {"resource_args": {"address": address}}, SOON)


@pytest.fixture
def place(tmp_path: Path, ray_address: str) -> Place:
    return made(tmp_path, ray_address)


class TestRay(EngineContract):
    @pytest.fixture
    def place(self, tmp_path: Path, ray_address: str) -> Place:
        return made(tmp_path, ray_address)


@pytest.fixture
def runner(place: Place) -> Iterator[Runner]:
    with place.runner() as opened:
        yield opened


def test_a_run_is_a_task_that_asks_for_what_its_spec_says(place: Place, runner: Runner) -> None:
    asked = {"cpus": 2, "memory": "1GiB", "gpus": 0.5, "gpu_type": "A100", "time": "2h"}
    own = {"entrypoint_num_cpus": 1, "entrypoint_resources": {"spot": 1}, "runtime_env": {"env_vars": {"A": "1"}}}
    request = place.request(runner, "true", resources=asked, resource_args=own)
    assert dict(request.options) == {  # type: ignore[attr-defined]
        "name": "launcher:item1", "num_cpus": 1, "num_gpus": 0.5, "memory": 2**30, "accelerator_type": "A100",
        "max_retries": 3, "resources": {"spot": 1}, "runtime_env": {"env_vars": {"A": "1"}},
    }  # fmt: skip
    [text] = runner.show([request], place.root)
    assert text.endswith("}\ntrue\n")


def test_a_node_is_killed_and_its_runs_are_started_again_elsewhere(
    place: Place, runner: Runner, ray_cluster: RayCluster
) -> None:
    spot = {"address": place.spec["resource_args"]["address"], "entrypoint_resources": {"spot": 1}}
    started = dict(begun(place, runner, number, resource_args=spot) for number in range(1, 5))  # both nodes are full
    doomed = ray_cluster.add()
    started |= dict(begun(place, runner, number, resource_args=spot) for number in (5, 6))
    for number in (1, 2):
        go(place, number)
    ray_cluster.kill(doomed)
    until(lambda: all(place.log(number).count("begun") == 2 for number in (5, 6)), "another start")
    for number in range(3, 7):
        go(place, number)
    assert {outcome(runner, token, handle) for token, handle in started.items()} == {Finished(None)}


def test_the_driver_is_killed_and_its_runs_are_lost(
    place: Place, runner: Runner, ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "MISSING_SECONDS", 0.0)
    token, handle = begun(place, runner)
    ray_cluster.kill_actor(driver_name(str(place.root)), NAMESPACE)
    assert isinstance(outcome(runner, token, handle), Lost)
    again, second = begun(place, runner, 2)
    go(place, 2)
    assert outcome(runner, again, second) == Finished(None), "a driver is there again"


def test_what_waits_is_cancelled_before_it_starts(place: Place, runner: Runner) -> None:
    token, handle = place.start(runner, "true", resources={"cpus": 64})
    assert runner.poll({token: handle}) == {token: None}
    runner.cancel(token, handle)
    assert outcome(runner, token, handle) == Cancelled("stopped before it was started")


def test_the_whole_cluster_is_restarted_and_its_runs_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_address: str
) -> None:
    monkeypatch.setattr(engines, "MISSING_SECONDS", 0.0)
    cluster = RayCluster(nodes=0)
    place = made(tmp_path, cluster.address)
    with place.runner() as runner:
        token, handle = begun(place, runner)
        cluster.kill_head()
        assert runner.poll({token: handle}) == {token: None}
        refused = submitted(runner, [place.request(runner, "true")])
        assert isinstance(refused[0], NoRoomError)
        until(lambda: not processes(token), "the end of its processes")
        cluster.start_head()
        try:
            assert isinstance(outcome(runner, token, handle), Lost)
            again, second = begun(place, runner, 3)
            go(place, 3)
            assert outcome(runner, again, second) == Finished(None)
        finally:
            cluster.close()
    assert not place.paths(2).log.exists(), "what was refused is not started later"
