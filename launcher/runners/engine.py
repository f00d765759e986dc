"""The command lines of Docker and Podman, as far as they are one: what they are asked, and what is read in what they
say. `local_container` calls it. Argument lists only, never a shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launcher.runners.container_request import Image

STATE = '{"id":{{json .ID}},"state":{{json .State}},"memory":{{json .HostConfig.Memory}}}'
ANSWER_SECONDS = 30.0


def begin(*argv: str, output: Any = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C in the agent's terminal is not meant for it."""
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )


def ask(
    *argv: str, env: Mapping[str, str] | None = None, seconds: float | None = ANSWER_SECONDS
) -> subprocess.CompletedProcess[str]:
    """What a program says, that fails like one that was ended when it takes too long."""
    try:
        return subprocess.run(
            argv, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds, check=False, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, -9, "", f"{argv[0]} did not answer within {seconds} s")
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, "", f"{argv[0]} cannot be started: {error.strerror}")


def inspected(program: str, containers: Sequence[str]) -> dict[str, dict[str, Any] | None]:
    """What the engine knows of these containers: {} of one that it says nothing about, None of one that is gone."""
    told = ask(program, "container", "inspect", "--format", STATE, *containers)
    gone = re.findall(r"no such container:?\s+\"?([0-9a-f]+)", told.stderr, re.IGNORECASE)
    found: dict[str, dict[str, Any] | None] = {name: None if name in gone else {} for name in containers}
    return found | {seen["id"]: seen for seen in map(json.loads, filter(None, told.stdout.splitlines()))}


def local_image(program: str, name: str) -> Image | None:
    """The image that this name means now; None if it is not on this machine."""
    told = ask(program, "image", "inspect", "--", name)
    if told.returncode:
        return None
    [image] = json.loads(told.stdout)
    config = image.get("Config") or {}
    return Image(
        image["Id"], _digest(name, image.get("RepoDigests") or ()), tuple(config.get("Entrypoint") or ()),
        tuple(config.get("Cmd") or ()), config.get("User") or "",
    )  # fmt: skip


def _digest(name: str, known: Iterable[str]) -> str:
    """The digest in the registry that `name` is of: an image may be in several."""
    head, slash, tail = name.partition("@")[0].rpartition("/")
    repository = head + slash + tail.partition(":")[0]
    spelled = (repository, f"docker.io/{repository}", f"docker.io/library/{repository}")  # Podman writes it in full
    return next((told for told in known if told.partition("@")[0] in spelled), "")


def remove(program: str, containers: Iterable[str]) -> None:
    """Remove these, and end them before if they run."""
    named = list(containers)
    if named:
        ask(program, "rm", "--force", "--volumes", *named)


def left(program: str, root: str) -> list[tuple[str, str, str]]:
    """The containers of runs below the folder `root`, their items and the tokens of their leases; those apart that have
    ended and that somebody wanted to keep."""
    wanted = ("launcher.item", "launcher.token", "launcher.keep")
    told = [f'{{{{.Label "{name}"}}}}' if program == "docker" else f'{{{{index .Labels "{name}"}}}}' for name in wanted]
    line = "\t".join(["{{.ID}}", "{{.State}}", *told])
    listed = ask(program, "ps", "--no-trunc", "--all", f"--filter=label=launcher.root={root}", f"--format={line}")
    rows = (row.split("\t") for row in listed.stdout.splitlines())
    return [(container, item, token) for container, state, item, token, keep in rows if not keep or state == "running"]


def last(stderr: str) -> str:
    """What a program that failed says in the end."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and "--help" not in line]
    return (
        lines[-1].removeprefix("docker: ").removeprefix("Error response from daemon: ") if lines else "without a word"
    )
