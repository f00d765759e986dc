"""A multirun whose jobs are queued: composed and checked together, pushed in one transaction a batch, and waited for
where somebody wants their return values. Hydra's launcher plugin calls it, and `launcher add --app` a part of it."""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from launcher import canonical, tracing, words
from launcher.api import QueuedRun
from launcher.compose import Point, Repository
from launcher.compose.rows import compose_rows
from launcher.dispatcher import Dispatcher
from launcher.earlier import Earlier
from launcher.errors import LaunchError, UsageError
from launcher.hydra_app.master import Master, outputs
from launcher.hydra_app.program import App, running_app
from launcher.hydra_app.returns import queued
from launcher.hydra_app.waiting import Waiting
from launcher.item import GOALS, ItemFilter, Receipt, Sweep
from launcher.making import building, keeping, registering
from launcher.provenance import Provenance
from launcher.queues import Store, open_store
from launcher.settings import data_folder, load_settings, store_files, store_url
from launcher.sources import Leavings
from launcher.spec import DEFAULT_PROJECT_QUEUE, LaunchArguments, LaunchSpec, checked_name, parse_priority
from launcher.written import written_files

if TYPE_CHECKING:
    from hydra._internal.callbacks import Callbacks
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.utils import JobReturn
    from hydra.types import TaskFunction
    from omegaconf import DictConfig

SWEEP_OPTIONS = ("wait", "store", "sweep", "again", "metric", "goal", "stop_after_failures")
GRIDS = "hydra_plugins.launch_queue.sweeper.LaunchGrid"
"""Our own sweeper, which makes its jobs in one go, as Hydra's basic one does."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """A job whose spec was made: the queued run that it is, unless its sweep has it already, and what tells that."""

    run: QueuedRun
    overrides: tuple[str, ...]
    fingerprint: str


@dataclass(slots=True)
class Multirun:
    """The multirun of this process: its app, what its jobs share, and the sweep that they become."""

    app: App
    master: Master
    config: DictConfig
    loader: ConfigLoader
    sweep: Sweep
    store: str
    overlay: LaunchArguments
    again: bool = False
    _asked: Counter[tuple[str, ...]] = field(default_factory=Counter)

    @staticmethod
    def of(
        options: Mapping[str, Any], loader: ConfigLoader, callbacks: Callbacks, task: TaskFunction, config: DictConfig
    ) -> Multirun:
        """Of what Hydra hands to a launcher; `options` are the fields of its config.

        Raises HydraException's compact form, as everything here does, for what is wrong.
        """
        with as_hydra_tells():
            given = {name: canonical.plain(_container(value)) for name, value in options.items()}
            if not given["wait"]:
                _refuse_searching(config.hydra.sweeper)
            named = {name: value for name, value in given.items() if name not in SWEEP_OPTIONS and value}
            ignore = named.pop("fingerprint", {}).get("ignore") or ()
            app = running_app()
            flags, apart = (app.flags, app.apart()) if app else ((), False)
            master = Master.of(config, wait=given["wait"], flags=flags, ignore=tuple(ignore), apart=apart)
            if app is None:
                from launcher.hydra_app.task import keep_task

                app = keep_task(master, loader, callbacks, task, config)
            if given["goal"] not in GOALS:
                raise UsageError(f"hydra.launcher.goal is {given['goal']!r}, expected one of {', '.join(GOALS)}")
            name = checked_name(given["sweep"] or _name(config, app, master), "sweep")
            sweep = Sweep(name, given["metric"], given["goal"], stop_after_failures=given["stop_after_failures"])
            overlay = _overlay(named, name, app)
            return Multirun(app, master, config, loader, sweep, store_url(given["store"]), overlay, given["again"])

    def launch(self, rows: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Queue one job for each row of overrides, numbered from `first`; the returns, in order."""
        from hydra.core.utils import configure_log, setup_globals

        setup_globals()
        hydra = self.config.hydra
        configure_log(hydra.hydra_logging, hydra.verbose)
        with as_hydra_tells(), closing(open_store(self.store)) as store:
            repository = Repository.of_loader(self.loader)
            points = compose_rows(repository, hydra.job.config_name, self.master.overrides, rows)
            made: list[Made] = []
            self._push(store, points, first, made)
            runs = _settled(store, self.sweep.name, made)
            if not self.master.wait:
                return [queued(run, job.overrides) for run, job in zip(runs, made, strict=True)]
            returns = Waiting(store, self.sweep.name, [run.id for run in runs]).returns()
        configure_log(hydra.hydra_logging, hydra.verbose)
        return returns

    def launch_points(self, points: Iterable[Point]) -> Receipt:
        """Queue jobs that are composed already, as they come; nobody waits for their returns."""
        with as_hydra_tells(), closing(open_store(self.store)) as store:
            return self._push(store, points, 0, None)

    def _push(self, store: Store, points: Iterable[Point], first: int, made: list[Made] | None) -> Receipt:
        folder = Repository.of_loader(self.loader).folder
        with tracing.adding("hydra/launcher=launch_queue", sweep=self.sweep.name) as note:
            dispatcher = Dispatcher(
                {queue.name: queue for queue in store.queues()}, self.app.folder, keep=keeping(store), jobs=store.jobs,
                build=building(store, data_folder(self.store), load_settings().base_image),
                register=registering(store, data_folder(self.store)),
                provenance=Provenance(folder, self.config.hydra.job.config_name), renders=store.renders,
                apart=store_files(self.store),
                leavings=Leavings(written_files(self.store), outputs(self.config)),
            )  # fmt: skip
            jobs = self.master.jobs(points, first, self._asked, named=made is not None)
            earlier = None if self.again or self._asked else Earlier(store, self.sweep.name)
            specs = dispatcher.specs(jobs, self.overlay)
            specs = earlier.watch(specs) if earlier else specs
            receipt = store.push(self.sweep, specs if made is None else self._noting(specs, made), again=self.again)
            note(added=receipt.added, present=receipt.present)
        told = [f"code: {words.code(source)}" for source in dispatcher.sources]
        told += [f"job: {version.reference}" for version in dispatcher.versions]
        if differs := earlier.differs(receipt, "hydra.launcher.fingerprint.ignore=[{}]") if earlier else None:
            told.append(differs)
        self._tell(receipt, receipt.added + receipt.present + receipt.retried, told)
        return receipt

    def _noting(self, specs: Iterable[LaunchSpec], made: list[Made]) -> Iterator[LaunchSpec]:
        for spec in specs:
            document = spec.document
            run = QueuedRun(
                document["run_id"], spec.queue_name, document["project"], document["entity"], DEFAULT_PROJECT_QUEUE,
                spec.priority, self.sweep.name, self.store,
            )  # fmt: skip
            made.append(Made(run, spec.point, spec.fingerprint()))
            yield spec

    def _tell(self, receipt: Receipt, jobs: int, more: Iterable[str]) -> None:
        name = shlex.quote(self.sweep.name)
        present = receipt.present + receipt.retried
        again = f", of which {receipt.retried:,} had failed and wait again" if receipt.retried else ""
        there = f"; {present:,} are there already{again} (hydra.launcher.again=true adds all once more)"
        log.info(f"sweep {name}: {receipt.added:,} of {jobs:,} jobs queued{there if present else ''}")
        for line in more:
            log.info(line)
        quoted = shlex.quote(name)
        log.info(f"run: launcher agent   follow: launcher status {quoted}   stop: launcher cancel {quoted}")


def _container(value: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _refuse_searching(sweeper: DictConfig) -> None:
    """Refuse a sweeper that is no list of jobs: it asks for one batch after another, by what the last one returned."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.utils import get_class

    target = str(sweeper.get("_target_"))
    if target != GRIDS and not issubclass(get_class(target), BasicSweeper):
        raise UsageError(f"the sweeper {target} needs return values; add hydra.launcher.wait=true, and start an agent")


def _name(config: DictConfig, app: App, master: Master) -> str:
    """The same for the same command in the same place, so that it goes on with its sweep."""
    told = [app.folder, app.program, app.flags, config.hydra.job.config_name, master.settings(), master.task]
    return f"{config.hydra.job.name}-{canonical.digest(canonical.plain(told))[:6]}"


def _overlay(named: dict[str, Any], sweep: str, app: App) -> LaunchArguments:
    """launch_add's arguments of all jobs; their entry point is the Python that was asked for, and the app."""
    apart = bool(named.get("docker_image")) or named.get("resource") not in (None, "local-process")
    entry_point = app.entry_point(named.pop("entry_point", None), elsewhere=apart)
    if "priority" in named:
        named["priority"] = parse_priority(named["priority"])
    return LaunchArguments.from_mapping({**named, "entry_point": entry_point, "sweep_id": sweep}, "hydra.launcher")


def _settled(store: Store, sweep: str, made: Sequence[Made]) -> list[QueuedRun]:
    """The jobs as they are in the store: those that the sweep had before have kept their IDs."""
    new = {item.id for item in store.items(ItemFilter(ids=tuple(job.run.id for job in made)))}
    points = {job.overrides for job in made if job.run.id not in new}
    if not points:
        return [job.run for job in made]
    there = (item for item in store.items(ItemFilter(sweep=sweep)) if item.point in points)
    known = {LaunchSpec(store.document(item.id), item.queue).fingerprint(): item.id for item in there}
    return [job.run if job.run.id in new else replace(job.run, id=known[job.fingerprint]) for job in made]


@contextmanager
def as_hydra_tells() -> Iterator[None]:
    """What is wrong is told as Hydra tells what is wrong with a config: in words, without a traceback."""
    from hydra.errors import CompactHydraException

    try:
        yield
    except LaunchError as error:
        raise CompactHydraException(str(error)) from error
