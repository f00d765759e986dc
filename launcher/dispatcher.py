"""From arguments or points to queued items, in one pass: check the arguments, build the spec, pin its code, check the
spec, push. All or nothing: the store sees a sweep only when every one of its specs is right."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from launcher import schema
from launcher.compose import Point
from launcher.errors import LaunchError, NotFoundError, NotYetError, Problem, SpecError, suggest
from launcher.item import QueueInfo
from launcher.sources import pin
from launcher.spec import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    LaunchArguments,
    LaunchSpec,
    Source,
    construct,
    parse_priority,
)
from launcher.template import expand_arguments

SOURCES = ("uri", "job", "docker_image")
LATER = {
    "job": "jobs", "docker_image": "container runs", "build": "image builds",
    "template_variables": "template variables",
}  # fmt: skip
LAUNCH_NODE = "launch"
SHOWN_CAUSES = 20


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


@dataclass(slots=True)
class Dispatcher:
    """Makes specs for the queues of one store. A source is pinned once, so one sweep runs one version of its code.

    `folder` is the source of points that name none.
    """

    queues: Mapping[str, QueueInfo]
    folder: str = "."
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    user: str = field(default_factory=_user)
    _pinned: dict[tuple[str, str | None], Source] = field(default_factory=dict)
    _seen: dict[int, Any] = field(default_factory=dict)

    def spec(
        self, arguments: LaunchArguments, *, point: Point | None = None, args: list[str] | None = None
    ) -> LaunchSpec:
        """The checked launch spec of one run.

        `point` gives its config and overrides; `args` are the command's arguments before `${overrides}` is filled.
        Raises SpecError with all problems, NotFoundError for an unknown queue, NotYetError for what is to come.
        """
        given = arguments.given()
        _raise(schema.problems(given, "launch_arguments"))
        queue = self._queue(given.get("queue_name") or DEFAULT_QUEUE)
        document = construct(given, self.environ, self.user)
        document["resource"] = document["resource"] or queue.resource
        _refuse_later({**document, **document["docker"], **given})
        if point:
            run_config = {key: value for key, value in point.config.items() if key != LAUNCH_NODE}
            document["overrides"]["run_config"] = run_config
            document["overrides"]["args"] = expand_arguments(
                ["${overrides}"] if args is None else args, point.overrides
            )
        _raise(
            [*_source_problems(document), *schema.problems(document, seen=self._seen), *_runnable_problems(document)]
        )
        self._pin(document)
        priority = given.get("priority")
        if priority is not None and queue.prioritization == "DISABLED":
            _raise(
                [Problem("priority", f"{priority!r} given, but queue {queue.name!r} has its prioritization disabled")]
            )
        return LaunchSpec(
            document,
            queue.name,
            DEFAULT_PRIORITY if priority is None else parse_priority(priority),
            point.overrides if point else (),
        )

    def specs(
        self, points: Iterable[Point], overlay: LaunchArguments, progress: Callable[[], None] = lambda: None
    ) -> Iterator[LaunchSpec]:
        """The specs of a grid, lazily. A point's `launch` node holds its arguments; those of `overlay` win.

        Raises one SpecError at the end for all bad points, grouped by cause; nothing of the sweep may be kept then.
        """
        causes: dict[str, list[tuple[int, Point]]] = {}
        number = 0
        for number, point in enumerate(points, 1):
            try:
                yield self._of_point(point, overlay)
            except SpecError as error:
                for problem in error.problems:
                    causes.setdefault(str(problem), []).append((number, point))
            except LaunchError as error:
                causes.setdefault(str(error), []).append((number, point))
            progress()
        if causes:
            raise SpecError([*_grouped(causes, number)], f"{number} points, nothing queued")

    def _of_point(self, point: Point, overlay: LaunchArguments) -> LaunchSpec:
        node = point.config.get(LAUNCH_NODE) or {}
        if not isinstance(node, dict):
            raise SpecError(
                [Problem(LAUNCH_NODE, f"{node!r} is no mapping; expected launch_add's arguments by name, and args")]
            )
        named = {str(key): value for key, value in node.items() if key != "args" and value is not None}
        arguments = LaunchArguments.from_mapping(named)
        given = overlay.given()
        if given.keys() & set(SOURCES) and arguments.given().keys() & set(SOURCES):
            arguments = replace(arguments, uri=None, job=None, docker_image=None)
        if not arguments.given().keys() & set(SOURCES) and "uri" not in given:
            given["uri"] = self.folder
        args = node.get("args")
        if args is not None and not (isinstance(args, list) and all(isinstance(entry, str) for entry in args)):
            raise SpecError([Problem("launch.args", f"{args!r} is no list of strings")])
        return self.spec(replace(arguments, **given), point=point, args=args)

    def _queue(self, name: str) -> QueueInfo:
        if name not in self.queues:
            known = suggest(name, self.queues)
            raise NotFoundError(f"no queue named {name!r}; {known}. Create it: launcher queue create {name}")
        return self.queues[name]

    def _pin(self, document: dict[str, Any]) -> None:
        uri = document.get("uri")
        if not uri:
            return
        key = (uri, document["git"].get("version"))
        source = self._pinned.get(key)
        if source is None:
            source = self._pinned[key] = pin(*key)
        fields = source.fields()
        document["uri"] = fields["uri"]
        kept = {key: value for key, value in document["git"].items() if key not in ("repo", "version", "dirty")}
        document["git"] = {**kept, **fields["git"]}


def _refuse_later(asked: Mapping[str, Any]) -> None:
    for name, what in LATER.items():
        if asked.get(name):
            raise NotYetError(f"{name}={asked[name]!r}: {what} are not in this version yet")


def _raise(problems: list[Problem]) -> None:
    if problems:
        raise SpecError(problems)


def _source_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    image = document["docker"].get("docker_image") if isinstance(document["docker"], dict) else None
    given = {"uri": document.get("uri"), "job": document.get("job"), "docker_image": image}
    present = [f"{name}={value!r}" for name, value in given.items() if value]
    if len(present) != 1:
        yield Problem(
            "source", f"exactly one of uri, job or docker_image must be given; got {', '.join(present) or 'none'}"
        )


def _runnable_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    if document.get("resource") == "local-process" and not document["overrides"].get("entry_point"):
        yield Problem(
            "entry_point",
            "missing; expected the command to run, as ['python', 'train.py'] (or after -- on the command line)",
        )


def _grouped(causes: Mapping[str, list[tuple[int, Point]]], total: int) -> Iterator[Problem]:
    ranked = sorted(causes.items(), key=lambda entry: -len(entry[1]))
    for cause, where in ranked[:SHOWN_CAUSES]:
        number, point = where[0]
        yield Problem(
            f"{len(where)} of {total} points", f"{cause} (first: point {number}, {' '.join(point.overrides)})"
        )
    if len(ranked) > SHOWN_CAUSES:
        yield Problem(f"{len(ranked) - SHOWN_CAUSES} more causes", "not shown")
