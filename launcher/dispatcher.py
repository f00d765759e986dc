"""From arguments or points to queued items, in one pass: check the arguments, build the spec, pin its code, check the
spec, push. All or nothing: the store sees a sweep only when every one of its specs is right."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from launcher import canonical, checks, schema, tracing
from launcher.causes import Causes
from launcher.checks import SOURCES
from launcher.compose import Point
from launcher.compose.saying import Saying
from launcher.errors import LaunchError, NotFoundError, Problem, SourceError, SpecError, UsageError, suggest
from launcher.item import JobVersion, QueueInfo
from launcher.jobs import completed, find_version, lay_job
from launcher.provenance import Provenance, login
from launcher.sources import DIRTY, Leavings, Patch, pin
from launcher.spec import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    NOT_FINITE,
    LaunchArguments,
    LaunchSpec,
    Source,
    construct,
    parse_priority,
)
from launcher.telling import telling
from launcher.template import OVERRIDES, expand_arguments
from launcher.variables import laid_over, lay_arguments

Kept = TypeVar("Kept")

LAUNCH_NODE = "launch"


@dataclass(slots=True)
class Dispatcher:
    """Makes specs for the queues of one store. A source is pinned once, so one sweep runs one version of its code.

    `folder` is the source of points that name none, at `version` (as it is now without one); uncommitted changes of the
    files `apart` are none of it, nor are untracked `leavings`. `jobs` gives the versions of a job, or of all; `build`
    makes an image of a source, and a job version of that, where `build` is asked for; `register` makes a job version of
    a source where the store takes no code.
    `texts` are template variables of a command line, where numbers and booleans are text; they win over all others.
    `keep` hears of each source that is pinned, with its patch, so that both last until the runs start; a preview, which
    writes and builds nothing, has neither `keep` nor `build`. `traceparent`: the trace that its specs' runs belong to;
    `provenance`: what the specs shall say of where they come from. `renders`: the store's.
    """

    queues: Mapping[str, QueueInfo]
    folder: str = "."
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    user: str = field(default_factory=login)
    texts: Mapping[str, str] = field(default_factory=dict)
    keep: Callable[[Source, Patch | None], None] = lambda *_: None
    traceparent: str | None = field(default_factory=tracing.traceparent)
    version: str | None = None
    apart: Collection[Path] = ()
    leavings: Leavings = field(default_factory=Leavings)
    provenance: Provenance | None = None
    jobs: Callable[[str | None], Sequence[JobVersion]] = lambda _: ()
    build: Callable[[Source, Mapping[str, Any]], JobVersion] | None = None
    register: Callable[[Source, Mapping[str, Any]], JobVersion] | None = None
    renders: bool = True
    _found: dict[tuple[str, str, str], JobVersion | LaunchError] = field(default_factory=dict)
    _built: dict[str, JobVersion | LaunchError] = field(default_factory=dict)
    _saying: Saying = field(default_factory=Saying)
    _pinned: dict[tuple[Any, ...], Source | LaunchError] = field(default_factory=dict)

    def spec(
        self, arguments: LaunchArguments, *, point: Point | None = None, args: list[str] | None = None
    ) -> LaunchSpec:
        """The checked launch spec of one run.

        `point` gives its config and overrides; `args` are the command's arguments before `${overrides}` is filled.
        Raises SpecError with all problems, NotFoundError for an unknown queue, BuildError for a failed build.
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
            document["overrides"]["run_config"], places = self._saying.of(run_config)
            if places:
                document[NOT_FINITE] = [list(place) for place in places]
            args = [OVERRIDES] if args is None else args
            document["overrides"]["args"] = expand_arguments(args, point.overrides)
        problems = [
            *checks.problems(document, given, queue),
            *checks.override_problems(point.overrides if point else (), args or ()),
            *self._lay_job(document),
            *lay_arguments(document, queue, self.texts, renders=self.renders),
            *(() if self.renders else checks.wandb_problems(document)),
        ]
        _raise(
            [
                *problems,
                *schema.problems(document),
                *checks.resource_problems(document, queue),
                *checks.policy_problems(document),
            ]
        )
        self._pin(document)
        if self.provenance:
            document["provenance"] = self.provenance.of(document, point.choices if point else {})
        make = self.build if given.get("build") else self.register
        if make and document.get("uri"):
            self._make(document, make)
        priority = given.get("priority")
        return LaunchSpec(
            document,
            queue.name,
            DEFAULT_PRIORITY if priority is None else parse_priority(priority),
            point.overrides if point else telling(document) if document.get("sweep_id") else (),
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
        own, given = LaunchArguments.from_mapping(named).given(), overlay.given()
        sweep = given.get("sweep_id")
        if sweep and own.get("sweep_id", sweep) != sweep:
            told = f"{own['sweep_id']!r} given, but sweep {sweep!r} is added; leave it out, and name the sweep there"
            raise SpecError([Problem("launch.sweep_id", told)])
        if not given.keys().isdisjoint(SOURCES):
            own = {name: value for name, value in own.items() if name not in SOURCES}
        elif own.keys().isdisjoint(SOURCES):
            given["uri"] = self.folder
            if self.version and "version" not in own:
                given["version"] = self.version
        args = node.get("args")
        if args is not None and not (isinstance(args, list) and all(isinstance(entry, str) for entry in args)):
            raise SpecError([Problem("launch.args", f"{args!r} is no list of strings")])
        return self.spec(LaunchArguments(**_both(own, given)), point=point, args=args)

    def _given(self, arguments: LaunchArguments) -> dict[str, Any]:
        """A copy of the arguments, which the document may keep: the caller's own objects are never changed."""
        try:
            return {name: canonical.plain(value) for name, value in arguments.given().items()}
        except RecursionError as error:
            raise SpecError([Problem("", "an argument holds itself, or is nested too deeply for JSON")]) from error

    def _queue(self, name: str) -> QueueInfo:
        if name not in self.queues:
            known = suggest(name, self.queues)
            raise NotFoundError(
                f"no queue named {name!r}; {known}. Create it: launcher queue create {shlex.quote(name)}"
            )
        return self.queues[name]

    @property
    def sources(self) -> list[Source]:
        """What was pinned so far."""
        return [source for source in self._pinned.values() if isinstance(source, Source)]

    @property
    def versions(self) -> list[JobVersion]:
        """The versions of jobs that were found or built so far."""
        known = (*self._found.values(), *self._built.values())
        return list({each.reference: each for each in known if isinstance(each, JobVersion)}.values())

    def _lay_job(self, document: dict[str, Any]) -> list[Problem]:
        if not document.get("job"):
            return []
        try:
            version = self._version(document["job"], *self._home(document))
        except LaunchError as error:
            return [Problem("job", str(error))]
        return list(lay_job(document, version))

    def _home(self, document: Mapping[str, Any]) -> tuple[str, str]:
        """The entity and project of jobs that are named without."""
        return document["entity"] or self.environ.get("WANDB_USERNAME") or self.user, document["project"]

    def _version(self, reference: str, entity: str, project: str) -> JobVersion:
        """Looked up once, so that one sweep runs one version of a job, wherever its alias moves meanwhile."""
        asked = (reference, entity, project)
        known = self._found.get(asked)
        if known is None:
            try:
                name, alias = completed(*asked)
                versions = self.jobs(name)
                names = () if versions else sorted({version.name for version in self.jobs(None)})
                known = find_version(name, alias, versions, names)
            except (UsageError, NotFoundError) as error:
                known = error
            self._found[asked] = known
        return _told(known)

    def _make(self, document: dict[str, Any], make: Callable[[Source, Mapping[str, Any]], JobVersion]) -> None:
        """A job made of the source takes its place; asked for once for each source and way to make it."""
        source, overrides = Source.of(document), document["overrides"]
        asked = [source.fields(), overrides.get("entry_point"), overrides.get("dockerfile")]
        asked += [document.get(name) for name in ("builder", "registry", "python_version")]
        key = canonical.digest([*asked, *self._home(document)])
        known = self._built.get(key)
        if known is None:
            entity, project = self._home(document)
            try:
                known = make(source, {**document, "entity": entity, "project": project})
            except LaunchError as error:
                known = error
            self._built[key] = known
        version = _told(known)
        del document["uri"]
        document["git"] = {name: value for name, value in document["git"].items() if name not in Source.KEYS}
        document["job"] = version.reference
        document["docker"] = {**document["docker"], **version.source.get("docker", {})}

    def _pin(self, document: dict[str, Any]) -> None:
        uri, git = document.get("uri"), document["git"]
        if not uri or document.get("job"):  # a job is pinned
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
                known, patch = pin(
                    uri, version, dirty=dirty if dirty in DIRTY else DIRTY[0], in_place=in_place, apart=self.apart,
                    leavings=self.leavings,
                )  # fmt: skip
                self.keep(known, patch)
            except SourceError as error:
                known = error
            self._pinned[asked] = known
        return _told(known)


def _both(given: Mapping[str, Any], winning: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of two places; where both have variables, or a config (policies, say), one is laid over the other."""
    laid = {
        name: laid_over(given[name], winning[name])
        for name in ("template_variables", "config")
        if isinstance(given.get(name), Mapping) and isinstance(winning.get(name), Mapping)
    }
    return {**given, **winning, **laid}


def _told(known: Kept | LaunchError) -> Kept:
    """What was found before, or the error that was found instead."""
    if isinstance(known, LaunchError):
        raise type(known)(str(known))
    return known


def _raise(problems: list[Problem]) -> None:
    if problems:
        raise SpecError(problems)
