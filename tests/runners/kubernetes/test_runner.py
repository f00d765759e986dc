"""kubernetes keeps the runners' and the engines' contract, against a server that answers as Kubernetes does; and what
only it has: Jobs that runs share, pods that see nothing of the agent's disk, and objects of other kinds."""

from __future__ import annotations

import json
import sys

import pytest

from launcher.errors import RunnerError
from launcher.outcome import Cancelled, Failed, Finished, Outcome
from launcher.runners import Handle, Runner
from tests.conftest import REPOSITORY, until
from tests.kubernetes_api import Fault, KubernetesApi, problems
from tests.kubernetes_node import Node
from tests.runners.contract import ENVIRON, SECRETS, Place, outcome, submitted
from tests.runners.engine_contract import WAIT, EngineContract


class TestKubernetes(EngineContract):
    pass


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
