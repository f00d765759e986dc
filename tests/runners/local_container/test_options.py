"""What resource_args make of a container; and what is refused before it is made."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.errors import RunnerError
from launcher.runners.local_container import LocalContainer
from tests.runners.contract import ENVIRON, SECRETS, Place, outcome, submitted
from tests.runners.local_container.conftest import inspected, refusal
from tests.services import Docker


def test_options_reach_the_container(place: Place, docker: Docker) -> None:
    options = {
        "m": "64m", "cpus": "0.5", "cpu-shares": 512, "ulimit": ["nofile=512:512", "nproc=99"], "shm-size": "8m",
        "network": "none", "v": f"{place.root}:/data/${{run_id}}:ro", "w": "/data", "pids-limit": 50, "rm": True,
    }  # fmt: skip
    with place.runner() as runner:
        token, handle = place.start(runner, "sleep", "1000", resource_args=options)
        told = inspected(docker, handle["id"])
        runner.cancel(token, handle)
        outcome(runner, token, handle)
    host = told["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["CpuShares"], host["ShmSize"]) == (64 << 20, 500000000, 512, 8 << 20)
    assert (host["NetworkMode"], host["PidsLimit"], host["Privileged"]) == ("none", 50, False)
    assert {limit["Name"] for limit in host["Ulimits"]} == {"nofile", "nproc"}
    assert f"{place.root}:/data/item1:ro" in host["Binds"]
    assert told["Config"]["WorkingDir"] == "/data"
    assert told["Config"]["Labels"]["launcher.item"] == "item1"
    assert told["Name"] == f"/launcher-item1-1-{token[:8]}"


def test_options_that_give_away_the_machine_need_the_agents_leave(place: Place, docker: Docker) -> None:
    refused = refusal(place, "true", resource_args={"privileged": True})
    assert "resource_args.local-container.privileged is not allowed by this agent" in str(refused)
    assert "--allow-container-option privileged" in str(refused)
    allowing = LocalContainer(lambda: None, allowed=["privileged", "cap-drop"])
    assert "--privileged" in place.request(allowing, "true", resource_args={"privileged": True}).argv
    request = place.request(allowing, "sleep", "1000", resource_args={"cap-drop": ["NET_RAW", "CHOWN"]})
    [handle] = submitted(allowing, [request])
    assert not isinstance(handle, RunnerError)
    dropped = inspected(docker, handle["id"])["HostConfig"]["CapDrop"]
    allowing.cancel(request.token, handle)
    outcome(allowing, request.token, handle)
    allowing.close()
    assert {name.removeprefix("CAP_") for name in dropped} == {"NET_RAW", "CHOWN"}


def test_a_secret_may_stand_in_env_only(place: Place) -> None:
    for arguments in ({"workdir": "/${HF_TOKEN}"}, {"volume": ["/a:/b", "/c:/${HF_TOKEN}"]}, {"name": "${HF_TOKEN}"}):
        refused = refusal(place, "true", environ=ENVIRON | SECRETS, secrets=["HF_TOKEN"], resource_args=arguments)
        assert "would show the secret HF_TOKEN" in str(refused)
        assert refused.stage == "prepare"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"resource_args": {"m": "1g", "memory": "2g"}}, "gives memory twice"),
        ({"resource_args": {"env": ["NOT_HERE"]}}, "the agent's environment has no NOT_HERE"),
        ({"resource_args": {"env": ["a b=c"]}}, "'a b' is no name of a variable"),
        ({"docker": {"docker_image": "--privileged"}}, "'--privileged' is no image"),
        ({"docker": {"docker_image": "a b"}}, "'a b' is no image"),
        ({"docker": {}}, "the spec has no docker_image"),
        (
            {"docker": {"docker_image": "no-such:1"}},
            "the image 'no-such:1' is not on this machine and cannot be pulled",
        ),
    ],
)
def test_what_cannot_be_prepared(fields: dict[str, Any], expected: str, place: Place) -> None:
    refused = refusal(place, "true", **fields)
    assert expected in str(refused)
    assert refused.stage == "prepare"
