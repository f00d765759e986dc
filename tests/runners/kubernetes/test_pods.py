"""How pods end, and what that says of their runs: by themselves, by the cluster, by somebody, or before they began."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.runners import Runner, engines
from tests.conftest import until
from tests.kubernetes_api import Object
from tests.kubernetes_node import Node
from tests.runners.contract import Place, outcome
from tests.runners.engine_contract import begun
from tests.runners.kubernetes.conftest import JOBS


def pod(node: Node) -> str:
    """The name of the one pod that is there."""
    [found] = node.pods()
    return str(found["metadata"]["name"])


def target(reason: str, message: str = "told so") -> list[Object]:
    """The condition of a pod that the cluster ends."""
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"conditions": target("PreemptionByScheduler")}, Preempted),
        ({"conditions": target("EvictionByEvictionAPI")}, Preempted),
        ({"conditions": target("TerminationByKubelet")}, Preempted),
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, Preempted),
        ({"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than"}, Failed),
        ({"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the total limit"}, Failed),
        ({"conditions": target("DeletionByTaintManager")}, Lost),
        ({"reason": "NodeLost"}, Lost),
    ],
)  # fmt: skip
def test_what_a_cluster_does_to_a_pod_is_no_word_of_its_program(
    status: dict[str, Any], expected: type[Outcome], place: Place, runner: Runner, node: Node
) -> None:
    token, handle = begun(place, runner)
    node.kill(pod(node), code=9, **status)
    ended = outcome(runner, token, handle)
    assert isinstance(ended, expected), ended
    if status.get("reason") == "DeadlineExceeded":
        assert isinstance(ended, Failed)
        assert ended.stage == "timeout"


def test_a_run_that_is_killed_for_its_memory_is_told_so(place: Place, runner: Runner, node: Node) -> None:
    token, handle = begun(place, runner)
    node.kill(pod(node), code=9, **{"launcher/terminated": {"reason": "OOMKilled"}})
    ended = outcome(runner, token, handle)
    assert isinstance(ended, Failed)
    assert "memory" in ended.reason


def test_an_image_that_cannot_be_pulled_fails_its_run_after_a_while(place: Place, runner: Runner, node: Node) -> None:
    node.pulls = False
    token, handle = place.start(runner, "true", resource_args={"pull_seconds": 0})
    ended = outcome(runner, token, handle)
    assert isinstance(ended, Failed)
    assert "Kubernetes cannot start the image 'box:1': ImagePullBackOff" in ended.reason
    until(lambda: not node.api.all("jobs"), "that nothing of it is left")


def test_an_image_that_can_be_pulled_later_starts_then(place: Place, runner: Runner, node: Node) -> None:
    node.pulls = False
    token, handle = place.start(runner, "true")
    until(lambda: any(each["status"].get("containerStatuses") for each in node.pods()), "the failed pull")
    assert runner.poll({token: handle}) == {token: None}
    node.pulls = True
    node.release()
    assert outcome(runner, token, handle) == Finished(None)


def test_a_run_for_which_there_is_no_room_fails_after_a_while_if_it_shall(
    place: Place, runner: Runner, node: Node
) -> None:
    node.held = True
    ended = outcome(runner, *place.start(runner, "true", resource_args={"schedule_seconds": 0}))
    assert isinstance(ended, Failed)
    assert (ended.stage, "Kubernetes cannot place this run: Unschedulable: " in ended.reason) == ("submit", True)
    until(lambda: not node.api.all("jobs"), "that nothing of it is left")


def test_a_run_for_which_there_is_no_room_waits(place: Place, runner: Runner, node: Node) -> None:
    node.held = True
    token, handle = place.start(runner, "true")
    until(lambda: any(each["status"]["conditions"] for each in node.pods()), "Kubernetes's word for it")
    assert runner.poll({token: handle}) == {token: None}
    node.release()
    assert outcome(runner, token, handle) == Finished(None)


def test_what_waits_is_cancelled_before_it_starts(place: Place, runner: Runner, node: Node) -> None:
    node.held = True
    token, handle = place.start(runner, "true")
    runner.cancel(token, handle)
    assert outcome(runner, token, handle) == Cancelled("stopped before it was started")
    until(lambda: not node.api.all("jobs"), "the end of its Job")


def test_a_job_that_somebody_deletes_is_cancelled_there(place: Place, runner: Runner, node: Node) -> None:
    token, handle = begun(place, runner)
    node.api.delete(JOBS, str(handle["name"]), {"propagationPolicy": "Foreground"})
    ended = outcome(runner, token, handle)
    assert isinstance(ended, Cancelled)
    assert "somebody cancelled it there" in ended.reason


def test_a_job_that_is_not_there_any_more_is_lost(place: Place, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MISSING_SECONDS", 0.0)
    with place.runner() as runner:
        token, handle = begun(place, runner)
    node.api.remove(JOBS, str(handle["name"]))
    with place.runner() as other:
        assert other.poll({token: handle}) == {token: None}, "its pod may be there"
    node.stop(pod(node))
    with place.runner() as other:
        assert isinstance(outcome(other, token, handle), Lost)
