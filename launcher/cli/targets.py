"""What a command is about: its store, and the items that its arguments and options select; and who gives it."""

from __future__ import annotations

import gc
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from launcher.analysis.conditions import Condition
from launcher.errors import NotFoundError, StoreError, UsageError, suggest
from launcher.item import Item, ItemFilter, RunState, Sweep
from launcher.queues import Store, open_store
from launcher.queues.sqlite_file import path_of
from launcher.settings import data_folder, store_url

Function = TypeVar("Function", bound=Callable[..., Any])

TOGETHER = 10_000
"""Items that are named in one filter, each page of which looks all of them up."""

NEWEST = 5
"""Items that are named where one was expected."""


def store_option(function: Function) -> Function:
    """`--store URL`."""
    text = "Where the queues live (default: LAUNCHER_STORE, [tool.launcher] of pyproject.toml, the user's data folder)."
    return click.option("--store", metavar="URL", help=text)(function)


def json_option(function: Function) -> Function:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def filter_options(function: Function) -> Function:
    """`--queue`, `--state` and `--where`; the command gets them as one filter, `which`, for `selected` to apply: its
    points are the conditions as they were written."""

    @wraps(function)
    def gathered(
        *arguments: Any, queue: str | None, states: tuple[str, ...], where: tuple[str, ...], **more: Any
    ) -> Any:
        for text in where:
            Condition.parse(text)
        which = ItemFilter(queue=queue, states=_states(states), points=where)
        return function(*arguments, which=which, **more)

    where = "Only these: model=svm, seed!=3, 'lr>=0.2'. Repeatable: all must hold."
    option = click.option("--where", multiple=True, metavar="CONDITION", help=where)
    return cast(Function, _queue_option(_state_option(option(cast(Any, gathered)))))


def _queue_option(function: Any) -> Any:
    return click.option("--queue", "-q", metavar="QUEUE", help="Only items of this queue.")(function)


def _state_option(function: Any) -> Any:
    states = ", ".join(state.value for state in RunState)
    return click.option("--state", "states", multiple=True, metavar="STATE,…", help=f"Only items in these: {states}.")(
        function
    )


def queue_and_states(function: Function) -> Function:
    """`--queue` and `--state` alone, for commands whose `--where` knows more than the points; as `filter_options`."""

    @wraps(function)
    def gathered(*arguments: Any, queue: str | None, states: tuple[str, ...], **more: Any) -> Any:
        return function(*arguments, which=ItemFilter(queue=queue, states=_states(states)), **more)

    return cast(Function, _queue_option(_state_option(gathered)))


def many_rows(function: Function) -> Function:
    """A command that makes very many rows: these have no cycles; looking for some would take a third of its time."""

    @wraps(function)
    def uncollected(*arguments: Any, **more: Any) -> Any:
        gc.disable()
        try:
            return function(*arguments, **more)
        finally:
            gc.enable()

    return cast(Function, uncollected)


def _states(given: tuple[str, ...]) -> frozenset[RunState] | None:
    known = {state.value: state for state in RunState}
    names = [name.strip() for text in given for name in text.split(",")]
    if bad := [name for name in names if name not in known]:
        raise UsageError(f"--state {bad[0]!r} is unknown; {suggest(bad[0], known)}")
    return frozenset(known[name] for name in names) or None


@contextmanager
def opened(url: str | None, *, read_only: bool = False, as_is: bool = False, make: bool = True) -> Iterator[Store]:
    """The store of a command, closed at its end; see `launcher.queues.open_store`. Unless `make`, a store that is not
    there stays so, as it is for commands that only look: StoreError for one that the command line or the environment
    names, else an empty one in its place."""
    found = store_url(url)
    absent = not make and not _is_there(url, found)
    store = open_store(found, read_only=read_only or absent, as_is=as_is)
    try:
        yield store
    finally:
        store.close()


def _is_there(given: str | None, url: str) -> bool:
    """Whether a store can be opened as for writing, to hear what others write, and still none is made."""
    if not url.startswith("sqlite:///"):
        return False  # a database's tables are only made for writing, and it is read as others write in any case
    path = path_of(url)
    if path.exists():
        return True
    if given or os.environ.get("LAUNCHER_STORE"):
        raise StoreError(f"there is no store at {path}; name another with --store sqlite:///PATH")
    return False


def folder_option(function: Function) -> Function:
    """`--dir FOLDER`."""
    text = "Folder for the runs' folders and checkouts (default: beside the store)."
    path = click.Path(path_type=Path)
    return click.option("--dir", "folder", type=path, envvar="LAUNCHER_DIR", help=text)(function)


def agent_folder(store: Store, folder: Path | None) -> Path:
    """An agent's folder: the given one, else the store's, else one in the user's data folder."""
    return (folder or data_folder(store.url)).absolute()


def selected(store: Store, names: Sequence[str], which: ItemFilter | None = None) -> list[ItemFilter]:
    """What arguments name (sweeps by name, else items by ID or by a unique beginning of one), as far as `which` selects
    it; `which` alone where they name nothing. NotFoundError for an unknown sweep, item or queue, UsageError for a
    condition on what none of them has."""
    filters = _named(store, names, which)
    return _meeting(store, filters, filters[0].points) if filters[0].points else filters


def _named(store: Store, names: Sequence[str], which: ItemFilter | None) -> list[ItemFilter]:
    which = which or ItemFilter()
    known = {sweep.name for sweep in store.sweeps()}
    _check(store, which, known)
    if not names:
        return [which]
    sweeps = [name for name in dict.fromkeys(names) if name in known]
    if sweeps and which.sweep:
        raise UsageError(
            f"sweep {sweeps[0]!r} and --sweep {which.sweep!r} both given; name the sweeps, or give --sweep"
        )
    filters = [replace(which, sweep=name) for name in sweeps]
    items = tuple(dict.fromkeys(_item_id(store, name, known) for name in names if name not in known))
    return [*filters, replace(which, ids=items)] if items else filters


@many_rows
def _meeting(store: Store, filters: Sequence[ItemFilter], texts: Sequence[str]) -> list[ItemFilter]:
    """What filters select of the items for which these conditions hold. Where all of them name overrides that items
    have, written so, the store finds them; else their records are read, as `launcher results` does it."""
    from launcher.analysis.table import COLUMNS, tabulate

    conditions = [Condition.parse(text) for text in texts]
    if all(each.sign == "=" and each.column not in COLUMNS for each in conditions) and all(
        store.newest(replace(each, states=None), 1) for each in filters
    ):
        return list(filters)
    whole = [replace(each, points=(), states=None) for each in filters]
    table = tabulate(record for each in whole for record in store.run_records(each)).where(conditions)
    ids = tuple(dict.fromkeys(table.facts["id"]))
    found = ItemFilter(queue=filters[0].queue, states=filters[0].states)
    return [replace(found, ids=ids[first : first + TOGETHER]) for first in range(0, max(len(ids), 1), TOGETHER)]


def _item_id(store: Store, name: str, sweeps: set[str]) -> str:
    try:
        return store.item(name).id
    except NotFoundError as error:
        if "several" in str(error):
            raise
        raise NotFoundError(
            f"{name!r} is neither a sweep nor an item's ID; sweeps: {suggest(name, sweeps, store.url)}"
        ) from error


def _check(store: Store, which: ItemFilter, sweeps: set[str]) -> None:
    if which.sweep is not None and which.sweep not in sweeps:
        raise NotFoundError(f"no sweep named {which.sweep!r}; {suggest(which.sweep, sweeps, store.url)}")
    if which.queue is not None:
        queues = {queue.name for queue in store.queues()} | {
            count.queue for count in store.counts()
        }  # deleted ones too
        if which.queue not in queues:
            raise NotFoundError(f"no queue named {which.queue!r}; {suggest(which.queue, queues)}")


def sweeps_or_last(store: Store, names: Sequence[str]) -> list[Sweep]:
    """The sweeps of these names; without any the one that was added last, which is told. NotFoundError for unknown
    names, and where there is no sweep."""
    if not names:
        last = next(reversed(store.sweeps()), None)
        if last is None:
            raise NotFoundError(f"there is no sweep in {store.url}; launcher add adds one")
        click.echo(f"launcher: no sweep is named; this is {last.name!r}, which was added last", err=True)
        return [last]
    from launcher.analysis.frames import found_sweeps  # a table needs it, `status` does not

    return found_sweeps(store, names)


def found_item(store: Store, name: str | None) -> Item:
    """The item of an ID or of a unique beginning of one; for a sweep's name, NotFoundError says what shows a sweep.
    UsageError names the newest items where none is."""
    if name is None:
        newest = [f"{each.id} ({each.state})" for each in store.newest(ItemFilter(), NEWEST)]
        known = f"the newest: {', '.join(newest)} (launcher status SWEEP)" if newest else f"none is in {store.url}"
        raise UsageError(f"no item is named; expected an ID, or the beginning of one; {known}")
    sweep = name in {each.name for each in store.sweeps()}
    try:
        item = store.item(name)
        if item.id == name or not sweep:  # a sweep's name says more than the beginning of an ID
            return item
    except NotFoundError:
        if not sweep:
            raise
    quoted = shlex.quote(name)
    how = f"launcher status {quoted} shows its items, launcher results {quoted} what they reported"
    raise NotFoundError(f"{name!r} is a sweep; {how}")


def user() -> str:
    """Who acts, for the event log."""
    return os.environ.get("WANDB_USERNAME") or os.environ.get("USER") or os.environ.get("LOGNAME") or "user"
