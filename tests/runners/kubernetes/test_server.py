"""What becomes of runs while Kubernetes's server fails, is busy, refuses, or tells of their ends late."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launcher.errors import NoRoomError
from launcher.outcome import Cancelled, Failed, Finished
from launcher.runners import Runner
from launcher.runners.kubernetes.cluster import ApiError, Cluster
from launcher.runners.kubernetes.runner import AT_ONCE
from tests.conftest import PATIENCE_SECONDS, until
from tests.kubernetes_api import Fault, KubernetesApi
from tests.kubernetes_node import Node
from tests.runners.contract import Place, outcome, submitted
from tests.runners.engine_contract import WAIT, begun, go
from tests.runners.kubernetes.conftest import JOBS
from tests.runners.kubernetes.test_runner import all_outcomes


def test_a_job_whose_creation_was_not_answered_is_there_once(place: Place, runner: Runner, api: KubernetesApi) -> None:
    api.faults.append(Fault("POST", "/jobs", after=True))
    token, handle = begun(place, runner)
    assert runner.room() == 0 or ("POST", JOBS) in api.calls
    go(place)
    assert outcome(runner, token, handle) == Finished(None)
    assert len(api.all("jobs")) == 1
    assert place.log() == "begun\nover\n"


def test_a_job_of_which_nobody_knows_is_asked_for_until_it_is_known(
    place: Place, runner: Runner, api: KubernetesApi
) -> None:
    api.faults.append(Fault("POST", "/jobs", times=12))
    token, handle = place.start(runner, "true")
    assert runner.poll({token: handle}) == {token: None}
    assert outcome(runner, token, handle) == Finished(None)
    assert len(api.all("jobs")) == 1


QUOTA = 'jobs.batch "x" is forbidden: exceeded quota: runs, requested: count/jobs.batch=1, used: 5, limited: 5'


BUSY = [
    Fault("POST", "/jobs", 403, "Forbidden", QUOTA),
    Fault("POST", "/jobs", 429, "TooManyRequests", "slow", times=9),
    Fault("POST", "/jobs", 503, "ServiceUnavailable", "etcd", times=9),
]


@pytest.mark.parametrize("fault", BUSY, ids=["quota", "busy", "away"])
def test_a_cluster_that_takes_no_more_is_asked_again_later(
    fault: Fault, place: Place, runner: Runner, api: KubernetesApi
) -> None:
    api.faults.append(fault)
    [refused] = submitted(runner, [place.request(runner, "true")])
    assert isinstance(refused, NoRoomError)
    api.faults.clear()
    assert api.all("jobs") == []
    until(lambda: runner.room() > 0, "room for more")
    assert outcome(runner, *place.start(runner, "true")) == Finished(None)


def test_a_server_that_says_when_to_come_again_is_left_alone_until_then(
    place: Place, runner: Runner, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.faults.append(Fault("POST", "/jobs", 429, "TooManyRequests", "slow", {"Retry-After": "3600"}, times=9))
    [refused] = submitted(runner, [place.request(runner, "true")])
    assert isinstance(refused, NoRoomError)
    asked, now = len(api.calls), time.monotonic()
    for later, room in ((3500.0, False), (3700.0, True)):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        assert (runner.room() > 0) is room
    monkeypatch.undo()
    assert [call for call in api.calls[asked:] if call[0] == "POST"] == []


def test_what_the_server_refuses_fails_with_its_words(place: Place, runner: Runner, api: KubernetesApi) -> None:
    api.faults.append(Fault("POST", "/jobs", 403, "Forbidden", "admission webhook denied the request: no"))
    [refused] = submitted(runner, [place.request(runner, "true")])
    assert str(refused) == "Kubernetes refuses it: admission webhook denied the request: no"
    assert not isinstance(refused, NoRoomError)


def test_watches_that_end_and_expire_are_begun_again(place: Place, runner: Runner, api: KubernetesApi) -> None:
    token, handle = begun(place, runner)
    api.cut()
    api.faults += [Fault("GET", "/jobs", 500, "InternalError", times=2), Fault("GET", "/pods", times=2)]
    api.compact()
    go(place)
    assert outcome(runner, token, handle) == Finished(None)


def test_a_run_that_ends_while_the_server_is_away_is_judged_when_it_is_back(
    place: Place, runner: Runner, api: KubernetesApi
) -> None:
    token, handle = begun(place, runner)
    away = [Fault(method, ".", 503, "ServiceUnavailable", times=1000) for method in ("GET", "POST", "DELETE")]
    api.faults += away
    api.cut()
    go(place)
    until(lambda: place.log() == "begun\nover\n" or len(api.calls) > 10, "its end, or our questions")
    assert runner.poll({token: handle}) == {token: None}
    api.faults.clear()
    assert outcome(runner, token, handle) == Finished(None)


def test_a_run_whose_pod_is_heard_of_late_is_judged_by_its_pod(
    place: Place, runner: Runner, api: KubernetesApi
) -> None:
    assert outcome(runner, *place.start(runner, "true")) == Finished(None)
    api.faults.append(Fault("GET", r"/pods\?.*watch=", 503, "ServiceUnavailable", times=1000))
    api.cut()
    asked = len(api.calls)
    token, handle = place.start(runner, "sh", "-c", "exit 3")
    listed = f"launcher/name%3D{handle['name']}"

    def asks_for_its_pods() -> bool:
        assert runner.poll({token: handle}) == {token: None}
        return any(listed in path for _, path in api.calls[asked:])

    until(asks_for_its_pods, "the end of its Job, and a look for pods")
    assert runner.poll({token: handle}) == {token: None}
    api.faults.clear()
    assert outcome(runner, token, handle) == Failed("run", "exit code 3", 3)


def test_a_run_of_a_cluster_that_is_not_configured_here_is_kept_and_cancelled_when_it_is(
    place: Place, runner: Runner, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, handle = begun(place, runner)
    config = os.environ["KUBECONFIG"]
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with place.runner() as other:
        assert other.poll({token: handle}) == {token: None}
        other.cancel(token, handle)
        assert other.poll({token: handle}) == {token: None}
        monkeypatch.setenv("KUBECONFIG", config)
        assert isinstance(outcome(other, token, handle), Cancelled)


def test_deletions_that_are_refused_hold_up_no_others_and_are_tried_again(
    place: Place, runner: Runner, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_ones = dict(place.start(runner, "sh", "-c", WAIT) for _ in range(AT_ONCE + 1))
    delete, refused = Cluster.delete, set()

    def forbidden(_: Cluster, path: str, name: str) -> None:
        refused.add(name)
        raise ApiError(403, "Forbidden", f"jobs.batch {name} is forbidden")

    monkeypatch.setattr(Cluster, "delete", forbidden)
    for token, handle in begun_ones.items():
        runner.cancel(token, handle)
    until(lambda: len(refused) == AT_ONCE + 1, "their refusals")
    started = ThreadPoolExecutor(1).submit(place.start, runner, "true").result(PATIENCE_SECONDS / 6)
    assert outcome(runner, *started) == Finished(None)
    monkeypatch.setattr(Cluster, "delete", delete)
    assert all(isinstance(ended, Cancelled) for ended in all_outcomes(runner, begun_ones).values())
