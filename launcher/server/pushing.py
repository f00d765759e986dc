"""From the spec that a W&B client pushes to a queued item: checked by the dispatcher that checks ours, and added with
whatever else arrives at that moment, in one transaction, so that many clients share the wait for the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.dispatcher import Dispatcher
from launcher.errors import ConflictError, LaunchError, NotFoundError, Problem, SpecError, StoreError, UsageError
from launcher.item import Item, ItemFilter, QueueInfo, Sweep
from launcher.queues import Store
from launcher.queues.ids import new_ids
from launcher.schema import value_problems
from launcher.server.desk import Ask, parsed, project_name
from launcher.server.leases import item_of
from launcher.server.queues import entity_of, shown_name
from launcher.spec import DEFAULT_PRIORITY, LaunchArguments, LaunchSpec, Source

KEY = "_wandb_api_key"
TOGETHER = 200
"""Specs that are added in one transaction, at most."""

TRIES = 3


def spec_of(ask: Ask, target: QueueInfo, text: str, variables: str | None, priority: int | None) -> LaunchSpec:
    """The checked launch spec of a push; SpecError with all that is wrong with it."""
    given = parsed(text, "runSpec")
    if not given:
        raise UsageError("runSpec is empty; expected a launch spec")
    given = {str(name): value for name, value in given.items() if value is not None and name != KEY}
    given["author"] = ask.user.name if given.get("author") in (None, "") else given["author"]
    given["entity"] = given.get("entity") or entity_of(ask.desk, target)
    if problems := value_problems(given["entity"], {"type": "string"}, ("entity",)):
        raise SpecError(problems)
    ask.user.check(given["entity"], "member")
    given["project"] = given.get("project") or "uncategorized"
    problems = [*_foreign(given), *_unnamed(given["project"])]
    if problems:
        raise SpecError(problems)
    if target.prioritization == "DISABLED" and priority == DEFAULT_PRIORITY:
        priority = None  # W&B's scheduler always gives one
    shown = replace(target, name=shown_name(ask.desk, target))  # problems name it as the client did
    dispatcher = Dispatcher(
        {shown.name: shown}, environ={}, user=ask.user.name, traceparent=None, jobs=lambda name: _jobs(ask, name)
    )
    arguments = LaunchArguments(
        config=given, template_variables=parsed(variables, "templateVariableValues"),
        queue_name=shown.name, priority=priority,
    )  # fmt: skip
    spec = dispatcher.spec(arguments)
    document = dict(spec.document)
    document.pop("queue_entity", None)
    document["queue_entity"] = entity_of(ask.desk, target)
    return replace(spec, document=document, queue_name=target.name)


def _jobs(ask: Ask, name: str | None) -> Sequence[Any]:
    """The versions of a job that the user may see; of all jobs, those of the user's entities."""
    if name is not None:
        ask.user.check(name.partition("/")[0], "viewer")
        return ask.desk.store.jobs(name)
    return [job for job in ask.desk.store.jobs() if job.name.partition("/")[0] in ask.user.roles]


def _foreign(given: Mapping[str, Any]) -> Iterator[Problem]:
    """What a spec may not ask of a server: to read a folder of its machine, or to fetch code itself."""
    uri, git = given.get("uri"), given.get("git") or {}
    if not uri:
        return
    if not isinstance(git, dict) or not isinstance(uri, str):
        return  # its schema tells
    if not _pinned(Source.of({"uri": uri, "git": git})):
        told = "is not pinned to a commit of a git remote; push it as a job, or by launcher, which pins it"
        yield Problem("uri", f"{uri!r} {told}")


def _unnamed(project: Any) -> Iterator[Problem]:
    """A project that no run of an agent could begin in; its schema tells the rest."""
    try:
        project_name(project if isinstance(project, str) else None)
    except UsageError as error:
        yield Problem("project", str(error).removeprefix("project "))


def _pinned(source: Source) -> bool:
    commit = source.commit or ""
    remote = not source.folder and bool(source.repo) and not str(source.repo).startswith(("file:", "/", "."))
    return remote and len(commit) == 40 and not source.patch and not source.in_place


@dataclass(slots=True)
class Wanted:
    """A spec that waits to be added, and what becomes of it: its item's ID."""

    spec: LaunchSpec
    sweep: Sweep | None
    own_id: bool
    done: Future[str] = field(default_factory=Future)


class Pusher:
    """Adds specs to a store, from one thread. Each item's ID is its run's: the spec's `run_id`, or a new one."""

    def __init__(self, store: Store, writing: threading.Lock) -> None:
        self._store = store
        self._writing = writing
        self._ids = new_ids()
        self._waiting: queue.SimpleQueue[Wanted | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="pusher")
        self._thread.start()

    def push(self, specs: Sequence[LaunchSpec], sweep: Sweep | None = None) -> list[Future[str]]:
        """Add each of the specs by itself, to a sweep if one is given; the futures give IDs, or why one could not be
        added."""
        wanted = [Wanted(spec, sweep, bool(spec.document.get("run_id"))) for spec in specs]
        for each in wanted:
            self._waiting.put(each)
        return [each.done for each in wanted]

    def close(self) -> None:
        """Add what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while first := self._waiting.get():
            together, last = [first], False
            while len(together) < TOGETHER and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    last = True
                    break
                together.append(more)
            by_sweep: dict[Sweep | None, list[Wanted]] = {}
            for each in together:
                by_sweep.setdefault(each.sweep, []).append(each)
            for alike in by_sweep.values():
                self._answer(alike)
            if last:
                return

    def _answer(self, alike: Sequence[Wanted]) -> None:
        try:
            self._add(alike)
        except Exception as error:
            for each in alike:
                if not each.done.done():
                    each.done.set_exception(error)

    def _add(self, together: Sequence[Wanted]) -> None:
        """All of one sweep at once; where one is refused, each by itself, so that its fault is not the others'."""
        named = [self._named(each) for each in together]
        try:
            self._write(named, together[0].sweep)
        except (ConflictError, NotFoundError) as error:
            if len(together) == 1:
                self._alone(together[0], error)
                return
            for each in together:
                self._add([each])
            return
        except StoreError as error:  # nobody told whether it was done
            self._look(together, named, error)
            return
        for each, spec in zip(together, named, strict=True):
            each.done.set_result(str(spec.document["run_id"]))

    def _alone(self, wanted: Wanted, error: LaunchError) -> None:
        for _ in range(0 if wanted.own_id else TRIES):  # an ID that happened to be taken
            spec = self._named(wanted)
            try:
                self._write([spec], wanted.sweep)
            except (ConflictError, NotFoundError) as again:
                error = again
            except StoreError as again:
                self._look([wanted], [spec], again)
                return
            else:
                wanted.done.set_result(str(spec.document["run_id"]))
                return
        wanted.done.set_exception(error)

    def _look(self, together: Sequence[Wanted], named: Sequence[LaunchSpec], error: StoreError) -> None:
        """After a reply of the store that was lost: what is there under the new IDs was added, the rest was not."""
        ids = [str(spec.document["run_id"]) for spec in named]
        there = {item.id for item in self._store.items(ItemFilter(ids=tuple(ids)))}
        for each, item_id in zip(together, ids, strict=True):
            if item_id in there and not each.own_id:
                each.done.set_result(item_id)
            else:
                each.done.set_exception(error)

    def _named(self, wanted: Wanted) -> LaunchSpec:
        run_id = wanted.spec.document["run_id"] if wanted.own_id else next(self._ids)
        return replace(wanted.spec, document={**wanted.spec.document, "run_id": run_id})

    def _write(self, specs: Sequence[LaunchSpec], sweep: Sweep | None) -> None:
        with self._writing:
            self._store.push(sweep, specs, again=True)


def resumed(ask: Ask, target: QueueInfo, text: str) -> tuple[Item, int] | None:
    """The item that a push only puts back, and after which attempt: W&B's agent adds a preempted run again, by the same
    run ID and with a count of its resumes. It keeps its priority and its story then."""
    given = parsed(text, "runSpec") or {}
    run_id, count = given.get("run_id"), given.get("_resume_count")
    if not isinstance(run_id, str) or type(count) is not int or count < 1:
        return None
    item = item_of(ask.desk, run_id, target.name)
    return (item, count) if item else None
