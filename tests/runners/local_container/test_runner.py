"""local-container keeps the runners' contract, with Docker; and what only containers have: memory of their own, secrets
unseen, mounted code, and a daemon between them and the agent."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from launcher.errors import RunnerError
from launcher.outcome import Cancelled, Failed, Finished
from launcher.runners.container_request import Engine
from launcher.runners.local_container import LocalContainer
from tests.conftest import until
from tests.runners.contract import ENVIRON, SECRETS, Place, RunnerContract, outcome, submitted
from tests.runners.local_container.conftest import image
from tests.services import Docker


class TestLocalContainer(RunnerContract):
    pass


def test_what_the_kernel_kills_for_its_memory_is_told_so(place: Place) -> None:
    with place.runner() as runner:
        started = place.start(runner, "tail", "/dev/zero", resource_args={"memory": "24m"})
        told = (
            "out of memory: it was killed at its limit of 24 MiB; ask for more in resource_args.local-container.memory"
        )
        assert outcome(runner, *started) == Failed("run", told, -9)


def test_nothing_that_can_be_inspected_holds_a_secret(place: Place, docker: Docker) -> None:
    script = 'echo "$TOKEN:$*"; sleep 1000'
    docker.image("entry:1", f"ENTRYPOINT {json.dumps(['sh', '-c', script, 'sh'])}", 'CMD ["of image"]')
    arguments = {"env": ["TOKEN=${HF_TOKEN}", "N=1"]}
    with place.runner() as runner:
        token, handle = place.start(
            runner, environ=ENVIRON | SECRETS, secrets=["HF_TOKEN"], resource_args=arguments, **image("entry:1")
        )
        until(lambda: place.log().endswith(":of image\n"), "its output")
        assert place.log() == f"{SECRETS['HF_TOKEN']}:of image\n", "the image's own command runs"
        told = docker.run("inspect", handle["id"]) + docker.run("ps", "--all", "--no-trunc", "--format={{json .}}")
        assert "N=1" in told
        assert "s3cr3t" not in told
        assert "k3yk3y" not in told
        runner.cancel(token, handle)
        outcome(runner, token, handle)


def test_what_an_agent_that_is_not_root_starts_is_not_either(place: Place) -> None:
    lease = place.lease("sh", "-c", 'id -u; touch "$HOME/mine" && echo "$WANDB_API_KEY"')
    place.paths(1).create({})
    request = Engine("docker", "1234:1234").request(lease, place.paths(1), None, ENVIRON | SECRETS)
    with place.runner() as runner:
        [handle] = submitted(runner, [request])
        assert not isinstance(handle, RunnerError)
        assert outcome(runner, lease.token, handle) == Finished(None)
    assert place.log() == f"1234\n{SECRETS['WANDB_API_KEY']}\n"
    assert (place.paths(1).folder / "mine").stat().st_uid == 1234


def test_code_is_mounted_read_only(place: Place, tmp_path: Path) -> None:
    code = tmp_path / "code, and:more"
    (code / "below").mkdir(parents=True)
    (code / "below/train.sh").write_text("pwd; touch new 2>/dev/null || echo refused")
    lease = place.lease("sh", "train.sh")
    lease.document["overrides"]["working_dir"] = "below"
    place.paths(1).create({})
    with place.runner() as runner:
        [handle] = submitted(runner, [runner.request(lease, place.paths(1), str(code), ENVIRON)])
        assert not isinstance(handle, RunnerError)
        assert outcome(runner, lease.token, handle) == Finished(None)
    assert place.log() == "/launcher/code/below\nrefused\n"


def test_a_container_may_be_kept(place: Place, docker: Docker) -> None:
    with place.runner() as runner:
        token, handle = place.start(runner, "true", resource_args={"rm": False})
        assert outcome(runner, token, handle) == Finished(None)
        assert runner.strays(place.root) == [], "it has ended, as was wanted"
    assert docker.containers() == [handle["id"]]
    docker.run("rm", handle["id"])


def test_the_log_is_whole_though_who_followed_it_was_killed(place: Place) -> None:
    script = 'echo one; until [ -e "$LAUNCHER_RUN_DIR/go" ]; do :; done; echo two'
    with place.runner() as runner, place.runner() as second:
        token, handle = place.start(runner, "sh", "-c", script)
        until(lambda: place.log() == "one\n", "the first line")
        [follower] = [
            int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline")
            if b"logs" in (words := path.read_bytes().split(b"\0")) and handle["id"].encode() in words
        ]  # fmt: skip
        os.kill(follower, signal.SIGKILL)
        (place.paths(1).folder / "go").touch()
        assert outcome(second, token, handle) == Finished(None)
        assert place.log() == "one\ntwo\n"


def test_while_the_daemon_is_away_runs_go_on(place: Place, monkeypatch: pytest.MonkeyPatch, docker: Docker) -> None:
    with place.runner() as runner:
        token, handle = place.start(runner, "true")
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place.root}/nobody")
        assert runner.poll({token: handle}) == {token: None}
        monkeypatch.setenv("DOCKER_HOST", docker.url)
        assert outcome(runner, token, handle) == Finished(None)


FAKE = """#!/bin/sh
[ "$1" = container ] || exit 0
for word; do container=$word; done
echo '{"id":"'$container'","state":{"Status":"exited","ExitCode":143},"memory":0}'
"""


def test_the_program_that_stopped_a_run_is_no_zombie_afterwards(tmp_path: Path) -> None:
    engine = tmp_path / "fake-engine"
    engine.write_text(FAKE)
    engine.chmod(0o755)
    handle = {"id": "a" * 64, "program": str(engine), "image": "i", "name": "box:1", "dir": str(tmp_path)}
    runner = LocalContainer(lambda: None)
    try:
        runner.cancel("t", handle)
        assert isinstance(runner.poll({"t": handle})["t"], Cancelled)
        until(lambda: not begun_here(engine.name), "the end of all that was started")
    finally:
        runner.close()


def begun_here(name: str) -> list[str]:
    """The states of the processes of this name that this one started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            head, _, tail = path.read_text().rpartition(") ")
            state, parent, *_ = tail.split()
            if head.endswith(f"({name}") and int(parent) == os.getpid():
                found.append(state)
    return found
