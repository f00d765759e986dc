"""From arguments or points to queued items, in one pass: check the arguments, build the spec, pin its code, check the
spec, push. All or nothing: the store sees a sweep only when every one of its specs is right."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from launcher import canonical, checks, schema, tracing
from launcher.causes import Causes
from launcher.checks import SOURCES
from launcher.compose import Point
from launcher.errors import LaunchError, NotFoundError, Problem, SourceError, SpecError, suggest
from launcher.item import QueueInfo
from launcher.provenance import Provenance, login
from launcher.queues import Store
from launcher.sources import DIRTY, Patch, pin, preserve
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
from launcher.variables import laid_over, lay_arguments

LAUNCH_NODE = "launch"


@dataclass(slots=True)
class Dispatcher:
    """Makes specs for the queues of one store. A source is pinned once, so one sweep runs one version of its code.

    `folder` is the source of points that name none, at `version` (as it is now without one). `texts` are template
    variables of a command line, where numbers and booleans are text; they win over all others. `keep` hears of each
    source that is pinned, with its patch, so that both last until the runs start; a preview, which writes nothing, has
    none. `traceparent`: the trace that its specs' runs belong to; `provenance`: what the specs shall say of where they
    come from.
    """

    queues: Mapping[str, QueueInfo]
    folder: str = "."
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    user: str = field(default_factory=login)
    texts: Mapping[str, str] = field(default_factory=dict)
    keep: Callable[[Source, Patch | None], None] = lambda *_: None
    traceparent: str | None = field(default_factory=tracing.traceparent)
    version: str | None = None
    provenance: Provenance | None = None
    _pinned: dict[tuple[Any, ...], Source | SourceError] = field(default_factory=dict)
    _seen: dict[int, Any] = field(default_factory=dict)

    def spec(
        self, arguments: LaunchArguments, *, point: Point | None = None, args: list[str] | None = None
    ) -> LaunchSpec:
        """The checked launch spec of one run.

        `point` gives its config and overrides; `args` are the command's arguments before `${overrides}` is filled.
        Raises SpecError with all problems, NotFoundError for an unknown queue, NotYetError for what is to come.
        """
        given = self._given(arguments)
        _raise(schema.problems(given, "launch_arguments"))
        queue = self._queue(given.get("queue_name") or DEFAULT_QUEUE)
        document = construct(given, self.environ, self.user)
        document["resource"] = document["resource"] or queue.resource
        if self.traceparent:
            document[tracing.FIELD] = self.traceparent
        if queue.entity:
            document.setdefault("queue_entity", queue.entity)
        for name in ("retry", "timeout"):
            if laid := laid_over(getattr(queue, name), document.get(name) or {}):
                document[name] = laid
        if point:
            run_config = {key: value for key, value in point.config.items() if key != LAUNCH_NODE}
            document["overrides"]["run_config"] = run_config
            document["overrides"]["args"] = expand_arguments(
                ["${overrides}"] if args is None else args, point.overrides
            )
        problems = [*checks.problems(document, given, queue), *lay_arguments(document, queue, self.texts)]
        _raise(
            [
                *problems,
                *schema.problems(document, seen=self._seen if point else None),
                *checks.resource_problems(document),
                *checks.policy_problems(document),
            ]
        )
        checks.refuse_later(document, given)
        self._pin(document)
        if self.provenance:
            document["provenance"] = self.provenance.of(document, point.choices if point else {})
        priority = given.get("priority")
        return LaunchSpec(
            document,
            queue.name,
            DEFAULT_PRIORITY if priority is None else parse_priority(priority),
            point.overrides if point else (),
        )

    def specs(
        self,
        points: Iterable[Point | Mapping[str, Any]],
        overlay: LaunchArguments,
        progress: Callable[[], None] = lambda: None,
        what: str = "point",
    ) -> Iterator[LaunchSpec]:
        """The specs of a sweep, lazily, from points or from launch_add's arguments by name; `what` is the word for one.

        A point's `launch` node holds its arguments; those of `overlay` win over it, but not over arguments by name.
        Raises one SpecError at the end for all that is wrong, grouped by cause; nothing of the sweep may be kept then.
        """
        causes = Causes(what)
        for point in points:
            try:
                yield self._of_point(point, overlay) if isinstance(point, Point) else self._of_mapping(point, overlay)
                causes.good()
            except LaunchError as error:
                causes.bad(error, " ".join(point.overrides) if isinstance(point, Point) else "")
            progress()
        causes.close()

    def _of_mapping(self, named: Mapping[str, Any], shared: LaunchArguments) -> LaunchSpec:
        if not isinstance(named, Mapping):
            raise SpecError([Problem("", f"{named!r} is neither a point nor launch_add's arguments by name")])
        own = LaunchArguments.from_mapping(named, "the spec").given()
        common = {
            key: value for key, value in shared.given().items() if key not in SOURCES or not own.keys() & set(SOURCES)
        }
        return self.spec(LaunchArguments(**_both(common, own)))

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
            if self.version and not arguments.version:
                given["version"] = self.version
        args = node.get("args")
        if args is not None and not (isinstance(args, list) and all(isinstance(entry, str) for entry in args)):
            raise SpecError([Problem("launch.args", f"{args!r} is no list of strings")])
        return self.spec(LaunchArguments(**_both(arguments.given(), given)), point=point, args=args)

    def _given(self, arguments: LaunchArguments) -> dict[str, Any]:
        """A copy of the arguments, which the document may keep: the caller's own objects are never changed."""
        try:
            return {name: canonical.plain(value) for name, value in arguments.given().items()}
        except RecursionError as error:
            raise SpecError([Problem("", "an argument holds itself, or is nested too deeply for JSON")]) from error

    def _queue(self, name: str) -> QueueInfo:
        if name not in self.queues:
            known = suggest(name, self.queues)
            raise NotFoundError(f"no queue named {name!r}; {known}. Create it: launcher queue create {name}")
        return self.queues[name]

    @property
    def sources(self) -> list[Source]:
        """What was pinned so far."""
        return [source for source in self._pinned.values() if isinstance(source, Source)]

    def _pin(self, document: dict[str, Any]) -> None:
        uri, git = document.get("uri"), document["git"]
        if not uri:
            return
        fields = self._source(uri, git.get("version"), git.get("dirty"), bool(git.get("in_place"))).fields()
        document["uri"] = fields["uri"]
        kept = {key: value for key, value in git.items() if key not in Source.KEYS}
        document["git"] = {**kept, **fields["git"]}

    def _source(self, *asked: Any) -> Source:
        """Asked once for each `uri`, version and way to treat changes, also if it cannot be had."""
        known = self._pinned.get(asked)
        if known is None:
            uri, version, dirty, in_place = asked
            try:
                known, patch = pin(uri, version, dirty=dirty if dirty in DIRTY else DIRTY[0], in_place=in_place)
                self.keep(known, patch)
            except SourceError as error:
                known = error
            self._pinned[asked] = known
        if isinstance(known, SourceError):
            raise SourceError(str(known))
        return known


def keeping(store: Store) -> Callable[[Source, Patch | None], None]:
    """A dispatcher's `keep` for what is added to this store: the patch lies there, the commit stays where it is."""

    def keep(source: Source, patch: Patch | None) -> None:
        if patch:
            store.keep_patch(patch.digest, patch.content)
        preserve(source)

    return keep


def _both(given: Mapping[str, Any], winning: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of two places; where both have variables, or a config (policies, say), one is laid over the other."""
    laid = {
        name: laid_over(given[name], winning[name])
        for name in ("template_variables", "config")
        if isinstance(given.get(name), Mapping) and isinstance(winning.get(name), Mapping)
    }
    return {**given, **winning, **laid}


def _raise(problems: list[Problem]) -> None:
    if problems:
        raise SpecError(problems)
