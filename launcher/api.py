"""The Python API: `launch_add` with W&B's signature and the QueuedRun it returns, `launch_sweep`, and the queues."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import notices, queue_file, tracing
from launcher.compose import Point
from launcher.dispatcher import Dispatcher
from launcher.errors import LaunchError, UsageError
from launcher.item import GOALS, HELD, TERMINAL, Item, ItemFilter, QueueInfo, Receipt, RunState, Sweep
from launcher.making import building, keeping, registering
from launcher.paths import RunPaths
from launcher.provenance import Provenance
from launcher.queues import Store, open_store
from launcher.settings import data_folder, load_settings, store_files, store_url
from launcher.sources import Leavings
from launcher.spec import DEFAULT_PROJECT_QUEUE, LaunchArguments, checked_name
from launcher.written import written_files

WAIT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A queued item: who it is, and how to follow it. Its state is read anew each time it is asked for."""

    id: str
    queue_name: str
    project: str
    entity: str
    project_queue: str
    priority: int
    sweep: str | None
    store: str

    @property
    def run_id(self) -> str:
        """The run's ID, which is the item's."""
        return self.id

    @property
    def state(self) -> RunState:
        """The item's state now."""
        return self._item().state

    @property
    def result(self) -> Mapping[str, Any] | None:
        """What the run reported; None before it ended, or when it reported nothing."""
        return self._item().result

    def wait_until_started(self, timeout: float | None = None) -> QueuedRun:
        """Return once the run is running or has ended; LaunchError after `timeout` seconds."""
        return self._wait(lambda item: item.state is RunState.RUNNING or item.state in TERMINAL, "start", timeout)

    wait_until_running = wait_until_started

    def wait_until_finished(self, timeout: float | None = None) -> QueuedRun:
        """Return once the run has ended, however it did; LaunchError after `timeout` seconds."""
        return self._wait(lambda item: item.state in TERMINAL, "finish", timeout)

    def cancel(self) -> None:
        """Cancel it: at once while it waits, else its agent stops the run."""
        with closing(open_store(self.store)) as store:
            store.cancel(ItemFilter(ids=(self.id,)), "launch_add")

    def delete(self) -> None:
        """Forget it. Raises LaunchError while an agent holds it: cancel it first, and wait until it has ended."""
        with closing(open_store(self.store)) as store:
            if not store.delete(ItemFilter(ids=(self.id,))):
                state = _exact(store, self.id).state.value
                raise LaunchError(
                    f"run {self.id} is {state}, so it cannot be deleted; cancel it, and wait until it ended"
                )

    def logs(self) -> str:
        """What the run has printed so far; empty before it started."""
        folder = self._item().run_dir
        log = RunPaths(Path(folder)).log if folder else None
        return log.read_text(encoding="utf-8", errors="replace") if log and log.is_file() else ""

    def _item(self) -> Item:
        with closing(open_store(self.store)) as store:
            return _exact(store, self.id)

    def _wait(self, done: Any, what: str, timeout: float | None) -> QueuedRun:
        deadline = None if timeout is None else time.monotonic() + timeout
        with closing(open_store(self.store)) as store:
            while not done(item := _exact(store, self.id)):
                if deadline is not None and time.monotonic() >= deadline:
                    held = "" if item.state in HELD else "; is an agent running? (launcher agent)"
                    raise LaunchError(
                        f"run {self.id} did not {what} within {timeout:g} s: it is {item.state.value}{held}"
                    )
                time.sleep(WAIT_SECONDS)
        return self


def _exact(store: Store, item_id: str) -> Item:
    found = next(store.items(ItemFilter(ids=(item_id,))), None)
    if found is None:
        raise LaunchError(f"run {item_id} is not in {store.url} any more")
    return found


def launch_add(  # noqa: PLR0913 - W&B's signature, exactly
    uri: str | None = None,
    job: str | None = None,
    config: dict[str, Any] | None = None,
    template_variables: dict[str, float | int | str] | None = None,
    project: str | None = None,
    entity: str | None = None,
    queue_name: str | None = None,
    resource: str | None = None,
    entry_point: list[str] | None = None,
    name: str | None = None,
    version: str | None = None,
    docker_image: str | None = None,
    project_queue: str | None = None,
    resource_args: dict[str, Any] | None = None,
    run_id: str | None = None,
    build: bool = False,
    repository: str | None = None,
    sweep_id: str | None = None,
    author: str | None = None,
    priority: int | None = None,
) -> QueuedRun:
    """Queue one run, and return it. The arguments are W&B's `launch_add`'s; docs/contract.md says what each means.

    The store is LAUNCHER_STORE's, else the project's, else the user's. Raises LaunchError, with nothing queued, for
    whatever is wrong.

    >>> run = launch_add(uri=".", entry_point=["python", "train.py", "lr=0.1"], project="demo")  # doctest: +SKIP
    >>> run.wait_until_finished().state  # doctest: +SKIP
    <RunState.FINISHED: 'finished'>
    """
    arguments = LaunchArguments(**{key: value for key, value in locals().items() if value is not None})
    url = store_url()
    with closing(open_store(url)) as store, tracing.adding("launch_add"):
        spec = _dispatcher(store, url).spec(arguments)
        sweep = Sweep(checked_name(sweep_id, "sweep")) if sweep_id else None
        receipt = store.push(sweep, [spec], again=True)
    return QueuedRun(
        id=receipt.ids[0],
        queue_name=spec.queue_name,
        project=spec.document["project"],
        entity=spec.document["entity"],
        project_queue=project_queue or DEFAULT_PROJECT_QUEUE,
        priority=spec.priority,
        sweep=sweep_id,
        store=url,
    )


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues of a store (its URL; default: as for `launch_add`), as `launcher queue` shows and changes them.

    Settings are those of schemas/queue.json by name: resource, resource_args, variables, prioritization, max_running,
    allow_overrides, entity, links, description. All raise LaunchError that lists what is wrong, with nothing changed.

    >>> Queues().create("gpu", resource="slurm", max_running=4).resource  # doctest: +SKIP
    'slurm'
    """

    store: str | None = None

    def create(self, name: str, **settings: Any) -> QueueInfo:
        """Create a queue."""
        with self._opened() as store:
            return queue_file.create_queue(store, name, settings)

    def update(self, name: str, **settings: Any) -> QueueInfo:
        """Change the named settings; the others stay, and so do the items that are in it already."""
        with self._opened() as store:
            return queue_file.update_queue(store, name, settings)

    def show(self, name: str) -> QueueInfo:
        """The queue of this name."""
        with self._opened() as store:
            return queue_file.found_queue(store, name)

    def list(self) -> Sequence[QueueInfo]:
        """Every queue, by name."""
        with self._opened() as store:
            return store.queues()

    def pause(self, name: str) -> None:
        """Let agents take nothing more from it; what runs goes on."""
        with self._opened() as store:
            store.pause_queue(name, paused=True)

    def resume(self, name: str) -> None:
        """Let agents take from it again."""
        with self._opened() as store:
            store.pause_queue(name, paused=False)

    def delete(self, name: str) -> None:
        """Delete it; LaunchError while anything waits or runs in it."""
        with self._opened() as store:
            store.delete_queue(name)

    def _opened(self) -> closing[Store]:
        return closing(open_store(store_url(self.store)))


def launch_sweep(  # noqa: PLR0913 - what a sweep is, by name
    name: str,
    specs: Iterable[Point | Mapping[str, Any]],
    *,
    metric: str | None = None,
    goal: str = "maximize",
    again: bool = False,
    stop_after_failures: int | None = None,
    notify: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    **shared: Any,
) -> Receipt:
    """Queue a sweep in one transaction, all or nothing: points of `compose_grid`, or launch_add's arguments by name.

    `shared` are launch_add's arguments for all of them: they win over a point's `launch` node, but not over arguments
    by name; both may name `retry`, `timeout` and `fingerprint` too. Specs that the sweep has already are left out, and
    wait again if they had failed, unless `again`. `metric` and `goal` (maximize or minimize) say how its results are
    ranked; after `stop_after_failures` failed items the rest is held; `notify` says whom to tell of failures and of the
    end (docs/results.md). Raises one LaunchError, with nothing queued, for
    all that is wrong, by cause.

    >>> rates = ({"entry_point": ["python", "train.py", f"lr={lr}"]} for lr in (0.1, 0.01))
    >>> launch_sweep("rates", rates, uri=".", project="demo").added  # doctest: +SKIP
    2
    """
    checked_name(name, "sweep")
    if goal not in GOALS:
        raise UsageError(f"goal {goal!r} is unknown; expected one of {', '.join(GOALS)}")
    if stop_after_failures is not None and (type(stop_after_failures) is not int or stop_after_failures < 1):
        raise UsageError(f"stop_after_failures is {stop_after_failures!r}, expected a whole number, at least 1")
    if wrong := list(notices.problems("notify", notify)) if notify is not None else []:
        raise UsageError("\n".join(wrong))
    overlay = LaunchArguments.from_mapping({**shared, "sweep_id": name}, "launch_sweep")
    url = store_url()
    with closing(open_store(url)) as store, tracing.adding("launch_sweep", sweep=name) as note:
        made = _dispatcher(store, url).specs(specs, overlay, what="spec")
        told = notices.parsed(notify)
        sweep = Sweep(name, metric, goal, stop_after_failures=stop_after_failures, notify=told)
        receipt = store.push(sweep, made, again=again)
        note(added=receipt.added, present=receipt.present)
    return receipt


def _dispatcher(store: Store, url: str) -> Dispatcher:
    queues = {queue.name: queue for queue in store.queues()}
    build = building(store, data_folder(url), load_settings().base_image)
    register = registering(store, data_folder(url))
    return Dispatcher(
        queues, keep=keeping(store), provenance=Provenance(), jobs=store.jobs, build=build, register=register,
        renders=store.renders, apart=store_files(url), leavings=Leavings(written_files(url)),
    )  # fmt: skip
