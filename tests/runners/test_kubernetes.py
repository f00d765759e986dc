"""kubernetes keeps the runners' and the engines' contract, against a server that answers as Kubernetes does; and what
only it has: Jobs that runs share, objects of other kinds, and all that goes wrong with pods and with the server."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import NoRoomError, RunnerError
from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.runners import Handle, Runner, engines
from launcher.runners.kubernetes.cluster import ApiError, Cluster
from launcher.runners.kubernetes.runner import AT_ONCE
from tests.conftest import PATIENCE_SECONDS, REPOSITORY, until
from tests.kubernetes_api import Fault, KubernetesApi, Object, problems
from tests.kubernetes_node import Node
from tests.runners.contract import ENVIRON, SECRETS, Place, outcome, submitted
from tests.runners.engine_contract import WAIT, EngineContract, begun, go

SOON = {"poll_seconds": 0.2}
SHARED = {"persistentVolumeClaim": {"claimName": "runs"}}
BOX = {"docker": {"docker_image": "box:1"}}
JOBS = "/apis/batch/v1/namespaces/team/jobs"


@pytest.fixture
def node(kubernetes_node: Node) -> Node:
    return kubernetes_node


@pytest.fixture
def api(node: Node) -> KubernetesApi:
    return node.api


@pytest.fixture
def place(tmp_path: Path, node: Node) -> Place:
    """Pods see the agent's folder."""
    return Place(tmp_path / "agent/runs", "kubernetes", {**BOX, "resource_args": {"shared": SHARED}}, SOON)


@pytest.fixture
def apart(tmp_path: Path, node: Node) -> Place:
    """Pods see nothing of the agent's disk."""
    return Place(tmp_path / "agent/runs", "kubernetes", BOX, SOON)


@pytest.fixture
def runner(place: Place) -> Iterator[Runner]:
    with place.runner() as opened:
        yield opened


class TestKubernetes(EngineContract):
    pass


def pod(node: Node) -> str:
    """The name of the one pod that is there."""
    [found] = node.pods()
    return str(found["metadata"]["name"])


def target(reason: str, message: str = "told so") -> list[Object]:
    """The condition of a pod that the cluster ends."""
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]


# -- how pods end -----------------------------------------------------------------------------------------------------


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


# -- how the server fails ---------------------------------------------------------------------------------------------


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


# -- Jobs that runs share ---------------------------------------------------------------------------------------------


def all_outcomes(runner: Runner, handles: dict[str, Handle]) -> dict[str, Outcome]:
    ended: dict[str, Outcome] = {}

    def over() -> bool:
        left = {token: handle for token, handle in handles.items() if token not in ended}
        ended.update((token, found) for token, found in runner.poll(left).items() if found)
        return len(ended) == len(handles)

    until(over, "all ends")
    return ended


def test_runs_that_share_a_job_end_each_as_it_ends(place: Place, runner: Runner, api: KubernetesApi) -> None:
    scripts = ["echo 0", "echo 1; exit 3", WAIT, """echo '{"a": 1}' > "$LAUNCHER_RESULT" """]
    requests = [place.request(runner, "sh", "-c", script, resource_args={"pack": 4}) for script in scripts]
    answers = submitted(runner, requests)
    handles = {request.token: answer for request, answer in zip(requests, answers, strict=True)}
    assert not any(isinstance(answer, RunnerError) for answer in answers)
    [job] = api.all("jobs")
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", 4)
    until(lambda: place.paths(3).log.is_file() and "begun" in place.log(3), "the start of the third")
    runner.cancel(requests[2].token, handles[requests[2].token])  # type: ignore[arg-type]
    ended = all_outcomes(runner, handles)  # type: ignore[arg-type]
    assert [type(ended[request.token]) for request in requests] == [Finished, Failed, Cancelled, Finished]
    assert ended[requests[3].token] == Finished({"a": 1})
    assert [place.log(number) for number in (1, 2)] == ["0\n", "1\n"]


def test_more_runs_than_share_a_job_have_several(place: Place, runner: Runner, api: KubernetesApi) -> None:
    requests = [place.request(runner, "true", resource_args={"pack": 3}) for _ in range(7)]
    answers = submitted(runner, requests)
    handles = {request.token: answer for request, answer in zip(requests, answers, strict=True)}
    assert set(all_outcomes(runner, handles).values()) == {Finished(None)}  # type: ignore[arg-type]
    assert sorted(job["spec"]["completions"] for job in api.all("jobs")) == [1, 3, 3]


# -- without a disk that pods and agents share ------------------------------------------------------------------------


def test_config_and_result_travel_with_the_pod(apart: Place) -> None:
    script = """cat "$LAUNCHER_CONFIG"; echo '{"loss": 0.5}' > "$LAUNCHER_RESULT" """
    with apart.runner() as runner:
        assert outcome(runner, *apart.start(runner, "sh", "-c", script)) == Finished({"loss": 0.5})
        assert apart.log() == "lr: 0.1\n"


def test_a_program_reports_into_a_pod_as_anywhere(apart: Place) -> None:
    script = "import launcher; launcher.report(a=1); launcher.report(b=2.5)"
    with apart.runner() as runner:
        started = apart.start(
            runner, sys.executable, "-c", script, resource_args={"env": {"PYTHONPATH": str(REPOSITORY)}}
        )
        assert outcome(runner, *started) == Finished({"a": 1, "b": 2.5}), apart.log()


def test_a_result_that_is_too_long_for_its_way_is_told_so(apart: Place) -> None:
    script = """printf '{"text": "%08000d"}' 1 > "$LAUNCHER_RESULT" """
    with apart.runner() as runner:
        ended = outcome(runner, *apart.start(runner, "sh", "-c", script))
    assert isinstance(ended, Failed)
    assert "its result is longer than the 4096 bytes that Kubernetes hands on" in ended.reason


def test_code_that_pods_do_not_see_is_refused(apart: Place) -> None:
    with apart.runner() as runner, pytest.raises(RunnerError, match=r"build an image of it \(build=true\)"):
        runner.request(apart.lease("true"), apart.paths(1), "/code", ENVIRON)


def test_an_image_runs_what_it_has_itself(apart: Place, node: Node) -> None:
    node.images["box:1"] = ["echo", "its own"]
    with apart.runner() as runner:
        assert outcome(runner, *apart.start(runner)) == Finished(None)
        assert apart.log() == "its own\n"


# -- what else is made ------------------------------------------------------------------------------------------------


def test_an_object_of_another_kind_runs_its_pods(place: Place, runner: Runner, api: KubernetesApi) -> None:
    api.kinds["kubeflow.org/v1"] = {"pytorchjobs": "PyTorchJob"}
    master = {"replicas": 1, "template": {"spec": {"containers": [{"name": "pytorch", "image": "${image_uri}"}]}}}
    kind = {
        "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": {"Master": master}},
    }  # fmt: skip
    assert outcome(runner, *place.start(runner, "echo", "ran", resource_args=kind)) == Finished(None)
    assert place.log() == "ran\n"
    unknown = {**kind, "kind": "TFJob"}
    [refused] = submitted(runner, [place.request(runner, "true", resource_args=unknown)])
    assert "TFJob" in str(refused)


def test_a_secret_is_in_no_object_but_secrets(place: Place, runner: Runner, api: KubernetesApi) -> None:
    api.add("/api/v1/namespaces/team/secrets", {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}, "data": {"key": "b3duZXI="},
    })  # fmt: skip
    own = {"env": {"TOKEN": "Bearer ${HF_TOKEN}"}, "secrets": {"OTHER": {"name": "theirs", "key": "key"}}}
    started = place.start(
        runner, "sh", "-c", 'echo "$TOKEN $OTHER ${#WANDB_API_KEY}"', environ=ENVIRON | SECRETS, secrets=["HF_TOKEN"],
        resource_args=own,
    )  # fmt: skip
    assert outcome(runner, *started) == Finished(None)
    assert place.log() == f"Bearer {SECRETS['HF_TOKEN']} owner 42\n"
    told = json.dumps([api.all("jobs"), api.all("pods")])
    assert "s3cr3t" not in told
    assert "k3yk3y" not in told
    assert len(api.all("secrets")) == 2


def test_what_the_cluster_would_refuse_is_told_in_a_preview(place: Place, runner: Runner, api: KubernetesApi) -> None:
    request = place.request(runner, "true")
    [text] = runner.show([request], place.root)
    assert "kind: Job" in text
    assert api.all("jobs") == []
    api.faults.append(Fault("POST", "dryRun", 403, "Forbidden", "pods of this size are forbidden"))
    with pytest.raises(RunnerError, match="Kubernetes would refuse this: pods of this size are forbidden"):
        list(runner.show([request], place.root))


def test_the_server_of_the_tests_refuses_what_kubernetes_does() -> None:
    made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {"template": {"spec": {}}}}
    assert "containers" in str(problems(made))
    made["spec"] = {"template": {"spec": {"containers": [{"name": "a", "image": "b"}], "restartPolicy": "Never"}}}
    assert problems(made) is None
    made["spec"]["replicas"] = 2  # type: ignore[index]
    assert "replicas" in str(problems(made))
