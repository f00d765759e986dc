"""What an image brings along, or does not: a shell, a command, an entry point, a user."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.errors import RunnerError
from launcher.outcome import Failed, Finished
from tests.runners.contract import ENVIRON, SECRETS, Place, outcome, submitted
from tests.runners.local_container.conftest import image, refusal
from tests.services import Docker


def test_an_image_without_a_shell(place: Place) -> None:
    with place.runner() as runner:
        started = place.start(runner, "/echo", "hi there", **image("bare:1"))
        assert outcome(runner, *started) == Finished(None)
        assert place.log() == "hi there\n"
        started = place.start(
            runner, "/echo", environ=ENVIRON | SECRETS, resource_args={"env": {"WANDB_API_KEY": ""}}, **image("bare:1")
        )
        assert outcome(runner, *started) == Finished(None), "without the key it needs no shell"
        ended = outcome(runner, *place.start(runner, "/echo", environ=ENVIRON | SECRETS, **image("bare:1")))
        assert isinstance(ended, Failed)
        assert ended.reason.startswith("the image 'bare:1' has no /bin/sh, through which a run gets its secrets unseen")
        unkept = {"init": False}
        refused = refusal(place, "/echo", environ=ENVIRON | SECRETS, resource_args=unkept, **image("bare:1"))
        assert str(refused) == ended.reason


def test_an_image_without_a_command(place: Place) -> None:
    for environ in (ENVIRON, ENVIRON | SECRETS):
        refused = refusal(place, environ=environ)
        assert str(refused) == "the image 'box:1' has no command of its own; give an entry_point"


@pytest.mark.parametrize(("environ", "init"), [(ENVIRON, True), (ENVIRON, False), (ENVIRON | SECRETS, True)])
def test_a_program_that_the_image_has_not(environ: dict[str, str], init: bool, place: Place) -> None:
    with place.runner() as runner:
        request = place.request(runner, "no-such", "--x", environ=environ, resource_args={"init": init})
        [handle] = submitted(runner, [request])
        told = handle if isinstance(handle, RunnerError) else outcome(runner, request.token, handle)
    assert "the program 'no-such' is not in the image 'box:1'; correct the entry point" in str(told)


@pytest.mark.parametrize(
    ("command", "fields", "expected"),
    [
        ([], {}, "image: own"),
        ([], {"overrides": {"args": ["more", "args"]}}, "image: more args"),
        ([], {"resource_args": {"command": "by 'resource args'"}}, "image: by resource args"),
        ([], {"resource_args": {"command": ["a", "list"]}}, "image: a list"),
        (["echo", "spec:", "x"], {"resource_args": {"command": "unheard"}}, "spec: x"),
    ],
)
def test_the_entry_point(
    command: list[str], fields: dict[str, Any], expected: str, place: Place, docker: Docker
) -> None:
    docker.image("own:1", 'ENTRYPOINT ["echo", "image:"]', 'CMD ["own"]')
    with place.runner() as runner:
        assert outcome(runner, *place.start(runner, *command, **image("own:1"), **fields)) == Finished(None)
    assert place.log() == f"{expected}\n"


def test_who_a_run_is(place: Place, docker: Docker) -> None:
    docker.image("user:1", "USER 1234:1234")
    with place.runner() as runner:
        script = """id -u; echo '{"a": 1}' > "$LAUNCHER_RESULT" """
        started = place.start(runner, "sh", "-c", script, **image("user:1"))
        assert outcome(runner, *started) == Finished({"a": 1})
        assert place.log() == "1234\n"
        other = {"docker": {"docker_image": "user:1", "user_id": 77}}
        token, handle = place.start(
            runner, "sh", "-c", 'id -u; echo "$WANDB_API_KEY"', environ=ENVIRON | SECRETS, **other
        )
        assert outcome(runner, token, handle) == Finished(None)
        assert place.log(2) == f"77\n{SECRETS['WANDB_API_KEY']}\n"
