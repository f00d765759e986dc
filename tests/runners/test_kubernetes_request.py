"""What Kubernetes is asked for a lease, as values: checked by its published schemas and by its official client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RunnerError
from launcher.runners.kubernetes.request import KubernetesRequest, batches, kubernetes_request
from tests.kubernetes_api import Object, problems
from tests.runners.contract import ENVIRON, Place

BOX = {"docker": {"docker_image": "box:1"}}
SHARED = {"persistentVolumeClaim": {"claimName": "runs"}}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "agent/runs", "kubernetes", BOX)


def asked(place: Place, *command: str, allowed: tuple[str, ...] = (), **fields: Any) -> KubernetesRequest:
    lease = place.lease(*(command or ("python", "train.py")), **fields)
    return kubernetes_request(lease, place.paths(place.count), "", ENVIRON, allowed)


def made(*requests: KubernetesRequest) -> Object:
    """The manifest of one object, if Kubernetes and its client know all of it."""
    [batch] = batches(requests)
    found = batch.manifest()
    assert problems(found) is None
    from kubernetes import client

    typed = client.ApiClient().deserialize(json.dumps(found), "V1Job", "application/json")
    assert client.ApiClient().sanitize_for_serialization(typed) == found
    return found


def test_a_plain_run_is_a_job_of_one_container(place: Place) -> None:
    request = asked(place, "python", "train.py", "lr=0.1")
    job = made(request)
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    env = {each["name"]: each.get("value") for each in container.pop("env")}
    assert job["metadata"]["name"] == f"launcher-item1-1-{request.token[:8]}"
    assert job["metadata"]["labels"] | job["spec"]["template"]["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "launcher", "launcher/root": request.labels["launcher/root"],
        "launcher/item": "item1", "launcher/attempt": "1", "launcher/queue": "q", "launcher/sweep": "s",
        "launcher/name": job["metadata"]["name"],
    }  # fmt: skip
    assert container == {
        "name": "run", "image": "box:1", "command": ["python"], "args": ["train.py", "lr=0.1"],
        "terminationMessagePath": "/launcher/run/result.json", "resources": {},
        "volumeMounts": [
            {"name": "launcher-run", "mountPath": "/launcher/run"},
            {"name": "launcher-start", "mountPath": "/launcher/run/config.yaml", "subPath": "config.yaml",
             "readOnly": True},
        ],
    }  # fmt: skip
    assert env["LAUNCHER_CONFIG"] == "/launcher/run/config.yaml"
    assert env["WANDB_RUN_ID"] == "item1"
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"launcher/config.yaml": "lr: 0.1\n"}
    del pod["containers"], pod["volumes"], job["spec"]["template"]
    assert pod == {"restartPolicy": "Never", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 10}
    assert job["spec"] == {"backoffLimit": 0, "ttlSecondsAfterFinished": 259200}


def test_what_a_spec_asks_for_in_no_engines_words(place: Place) -> None:
    resources = {"cpus": 1.5, "memory": "2GiB", "gpus": 1, "gpu_type": "NVIDIA-A100", "time": "1h"}
    pod = made(asked(place, resources=resources))["spec"]["template"]["spec"]
    told = {"cpu": "1500m", "memory": "2048Mi"}
    assert pod["containers"][0]["resources"] == {"requests": told, "limits": {**told, "nvidia.com/gpu": "1"}}
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-A100"}
    assert pod["activeDeadlineSeconds"] == 3600


def test_what_its_owner_gives_wins(place: Place) -> None:
    own = {
        "namespace": "lab", "gpu_label": "gpu",
        "metadata": {"labels": {"team": "${entity_name}"}},
        "spec": {
            "ttlSecondsAfterFinished": 60, "backoffLimit": 2,
            "template": {"spec": {
                "nodeSelector": {"gpu": "h100"}, "terminationGracePeriodSeconds": 99,
                "containers": [
                    {"name": "main", "resources": {"limits": {"cpu": "8"}}, "env": [{"name": "A", "value": "1"}]}
                ],
            }},
        },
    }  # fmt: skip
    job = made(asked(place, resources={"cpus": 2, "memory": "1GiB", "gpu_type": "a100"}, resource_args=own))
    pod = job["spec"]["template"]["spec"]
    assert (job["metadata"]["namespace"], job["metadata"]["labels"]["team"]) == ("lab", "e")
    assert (job["spec"]["ttlSecondsAfterFinished"], job["spec"]["backoffLimit"]) == (60, 2)
    assert (pod["nodeSelector"], pod["terminationGracePeriodSeconds"]) == ({"gpu": "h100"}, 99)
    assert pod["containers"][0]["resources"] == {
        "requests": {"memory": "1024Mi"}, "limits": {"cpu": "8", "memory": "1024Mi"}
    }  # fmt: skip
    assert pod["containers"][0]["env"][-1] == {"name": "A", "value": "1"}


def test_priorities_are_classes_of_the_cluster_or_of_kueue(place: Place) -> None:
    classes = {"critical": "urgent", "medium": "usual"}
    job = made(asked(place, resource_args={"priority_classes": classes}))
    assert job["spec"]["template"]["spec"]["priorityClassName"] == "usual"
    job = made(asked(place, resource_args={"priority_classes": classes, "kueue_queue": "team-a"}))
    labels = job["metadata"]["labels"]
    assert (labels["kueue.x-k8s.io/queue-name"], labels["kueue.x-k8s.io/priority-class"]) == ("team-a", "usual")
    assert "priorityClassName" not in job["spec"]["template"]["spec"]


def test_runs_of_one_kind_share_an_indexed_job(place: Place) -> None:
    requests = [asked(place, "echo", str(number), resource_args={"pack": 3}) for number in range(3)]
    job = made(*requests)
    spec, pod = job["spec"], job["spec"]["template"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"], spec["backoffLimitPerIndex"]) == (
        "Indexed", 3, 3, 0
    )  # fmt: skip
    assert "backoffLimit" not in spec
    scripts = [pod["metadata"]["annotations"][f"launcher/{number}"] for number in range(3)]
    assert [script.splitlines()[-1] for script in scripts] == ["exec echo 0", "exec echo 1", "exec echo 2"]
    assert "launcher/item" not in job["metadata"]["labels"], "it has several"
    runs = json.loads(job["metadata"]["annotations"]["launcher/runs"])["runs"]
    assert [item for item, _, _ in runs] == ["item1", "item2", "item3"]


def test_runs_that_differ_in_what_they_ask_for_share_none(place: Place) -> None:
    requests = [asked(place, resources={"cpus": cpus}, resource_args={"pack": 9}) for cpus in (1, 2, 1)]
    assert [len(batch.requests) for batch in batches(requests)] == [2, 1]


def test_words_that_kubernetes_would_fill_stay_as_they_are(place: Place) -> None:
    container = made(asked(place, "sh", "-c", "echo $(date) $$ $HOME"))["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["-c", "echo $$(date) $$$$ $$HOME"]


def test_names_that_no_label_can_hold_are_annotations_too(place: Place) -> None:
    lease = place.lease("true")
    long = "ein sehr langer Name einer Reihe von Läufen, den kein Etikett fassen kann, wie er da steht"
    object.__setattr__(lease.item, "sweep", long)
    job = made(kubernetes_request(lease, place.paths(1), "", ENVIRON))
    assert job["metadata"]["annotations"]["launcher/sweep"] == long
    assert len(job["metadata"]["labels"]["launcher/sweep"]) <= 63


DANGEROUS = {
    "spec": {"template": {"spec": {
        "hostPID": True, "serviceAccountName": "admin", "volumes": [{"name": "a", "hostPath": {"path": "/"}}],
        "containers": [{"image": "a", "securityContext": {"privileged": True}}],
    }}},
}  # fmt: skip


def test_what_reaches_beyond_a_runs_own_pod_is_refused_all_at_once(place: Place) -> None:
    with pytest.raises(RunnerError) as error:
        asked(place, resource_args=DANGEROUS)
    told = str(error.value).splitlines()
    head = "resource_args.kubernetes.spec.template.spec"
    assert [line.split(" is not allowed")[0] for line in told] == [
        f"{head}.hostPID", f"{head}.serviceAccountName", f"{head}.volumes[0].hostPath",
        f"{head}.containers[0].securityContext",
    ]  # fmt: skip
    assert "--allow-manifest-field hostPID" in told[0]
    assert error.value.stage == "prepare"
    with pytest.raises(RunnerError, match=r"shared\.hostPath"):
        asked(place, resource_args={"shared": {"hostPath": {"path": "/"}}})


def test_what_the_agents_owner_allows_is_let_through(place: Place) -> None:
    allowed = ("hostPID", "serviceAccountName", "hostPath", "securityContext")
    pod = made(asked(place, resource_args=DANGEROUS, allowed=allowed))["spec"]["template"]["spec"]
    assert pod["hostPID"] is True
    assert pod["serviceAccountName"] == "admin"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"docker": {}}, "the run has no image"),
        ({"resource_args": {"spec": {"template": {"metadata": {"labels": {"a": "${TOKEN}"}}}}}, "secrets": ["TOKEN"]},
         "spec would show the secret TOKEN; give it as env"),
        ({"resource_args": {"pack": 2, "apiVersion": "a.b/v1", "kind": "C"}}, "pack is for Jobs, and the kind is C"),
        ({"overrides": {"args": ["a"]}, "resource_args": {"pack": 2}}, "need an entry_point"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_told_with_the_way_out(fields: dict[str, Any], told: str, place: Place) -> None:
    with pytest.raises(RunnerError) as error:
        kubernetes_request(place.lease("true", **fields), place.paths(1), "", ENVIRON | {"TOKEN": "t"})
    assert told in str(error.value)
    assert error.value.stage == "prepare"
