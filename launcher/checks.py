"""What a launch spec must be beyond its schema: one source, a command where one is needed, arguments that suit its
queue and its resource. The dispatcher raises everything that is found here at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher import schema
from launcher.compose.resolving import LAUNCH_NODE
from launcher.errors import Problem, suggest
from launcher.item import QueueInfo
from launcher.runners import FOREIGN, RESOURCES
from launcher.runners.container_request import words
from launcher.runners.kubernetes.policy import refused
from launcher.spec import POLICIES
from launcher.template import FILE_MACROS, OVERRIDES

SOURCES = ("uri", "job", "docker_image")
IMAGE_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?::[0-9]+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")


def problems(document: Mapping[str, Any], given: Mapping[str, Any], queue: QueueInfo) -> Iterator[Problem]:
    """What is wrong with the arguments `given` and the `document` made of them, for this queue."""
    docker = document["docker"]
    image = docker.get("docker_image") if isinstance(docker, dict) else None
    sources = {"uri": document.get("uri"), "job": document.get("job"), "docker_image": image}
    present = [f"{name}={value!r}" for name, value in sources.items() if value]
    if len(present) != 1:
        told = ", ".join(present) or "none"
        yield Problem("source", f"exactly one of uri, job or docker_image must be given; got {told}")
    if document.get("resource") == "local-process":
        yield from _process_problems(document, image)
    if given.get("build"):
        yield from _build_problems(document, given)
    priority = given.get("priority")
    if priority is not None and queue.prioritization == "DISABLED":
        yield Problem("priority", f"{priority!r} given, but queue {queue.name!r} has its prioritization disabled")


def override_problems(overrides: Sequence[str], args: Sequence[str]) -> Iterator[Problem]:
    """The overrides of a point that the command gets among its `args`, and in which the agent would fill its own value
    where Hydra composed another one."""
    if not any(OVERRIDES in argument for argument in args):
        return
    for text in overrides:
        if text.lstrip("+").startswith((f"{LAUNCH_NODE}.", f"{LAUNCH_NODE}=")):
            continue  # what macros are for
        for name in FILE_MACROS:
            if f"${{{name}}}" in text:
                told = f"the agent would fill ${{{name}}} in it, whatever was composed; for the config's key write "
                yield Problem(text, f"{told}${{oc.select:{name}}}, for the run's own path name it in launch.args")


def _build_problems(document: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Problem]:
    if not given.get("queue_name"):
        yield Problem("build", "needs queue_name, the queue that the job with the built image waits in")
    if document.get("resource") == "local-process":
        yield Problem("build", "builds an image, which local-process cannot run; name another resource")
    if not document.get("uri"):
        yield Problem("build", "builds an image of the code that uri names; give uri, without job and docker_image")
    if document["git"].get("in_place"):
        yield Problem("build", "builds what is pinned, so in_place contradicts it; give one of them")
    repository = (document.get("registry") or {}).get("url")
    if repository and not IMAGE_NAME.fullmatch(str(repository)):
        yield Problem("repository", f"{repository!r} is none; expected a name without tag, as registry.team/images")
    if "builder" in document:
        yield from schema.problems(document["builder"], "builder", path=("builder",))


def _process_problems(document: Mapping[str, Any], image: str | None) -> Iterator[Problem]:
    if image:
        yield Problem("docker_image", f"{image!r} cannot be run by local-process; name another resource or queue")
    elif not document.get("job") and not document["overrides"].get("entry_point"):
        yield Problem(
            "entry_point",
            "missing; expected the command to run, as ['python', 'train.py'] (or after -- on the command line)",
        )


def resource_problems(document: Mapping[str, Any], queue: QueueInfo) -> Iterator[Problem]:
    """What is wrong with the resource of a spec for this queue, and with its arguments for it. Resources of
    W&B's agents alone are for queues that are made for these."""
    resource = document.get("resource")
    if not isinstance(resource, str):
        return
    if resource in FOREIGN and resource == queue.resource:
        return
    if resource not in RESOURCES:
        yield Problem("resource", f"{resource!r} is none that this store's agents run; {suggest(resource, RESOURCES)}")
        return
    own = document.get("resource_args")
    arguments = own.get(resource) if isinstance(own, Mapping) else None
    if isinstance(arguments, Mapping) and arguments:
        yield from schema.problems(arguments, f"resource_args/{resource}", path=("resource_args", resource))
        if resource == "local-container":
            yield from _command_problems(arguments.get("command"))


def _command_problems(command: Any) -> Iterator[Problem]:
    try:
        words(command)
    except ValueError as error:
        yield Problem("resource_args.local-container.command", f"{command!r} {error}")


CONTAINER_OPTIONS = frozenset(
    {
        "command", "cpu", "cpu-period", "cpu-quota", "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "e", "env",
        "gpus", "m", "memory", "memory-reservation", "memory-swap", "name", "pids-limit", "platform", "shm-size",
        "ulimit", "w", "workdir",
    }
)  # fmt: skip
"""What W&B's agents take for local-container, since 0.28.1."""


def wandb_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What of a spec a W&B server has no place for, or its agents refuse."""
    if document.get("uri"):
        yield from _code_problems(document)
    for name in ("limits", "timeout"):
        if document.get(name):
            yield Problem(name, "means nothing to W&B's agents; leave it out")
    own = document.get("resource_args")
    arguments = own if isinstance(own, Mapping) else {}
    container = arguments.get("local-container")
    for option in sorted(set(container) - CONTAINER_OPTIONS) if isinstance(container, Mapping) else ():
        yield Problem(f"resource_args.local-container.{option}", "is refused by W&B's agents")
    for path in refused(arguments.get("kubernetes"), "resource_args.kubernetes"):
        yield Problem(path, "is refused by W&B's agents")


def _code_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What keeps code from becoming a job on a W&B server."""
    if document["git"].get("in_place"):
        yield Problem("in_place", "means nothing to W&B's agents, which run what is pinned; leave it out")
    if not document["overrides"].get("entry_point") and document.get("resource") != "local-process":
        told = "missing; expected the command of the job that is made of the code, as ['python', 'train.py']"
        yield Problem("entry_point", told)


def policy_problems(values: Mapping[str, Any], where: str = "") -> Iterator[Problem]:
    """What is wrong with `retry`, `timeout`, `limits` and `fingerprint` of a launch spec or a queue."""
    for name in POLICIES:
        if name in values:
            yield from schema.problems(values[name], name, path=(where, name) if where else (name,))
