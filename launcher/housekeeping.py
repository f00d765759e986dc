"""Clearing away what ended runs left: their folders and logs, and if wished the items themselves. `launcher gc` calls
it; it deletes only what the store says was an ended item's, below one agent's folder."""

from __future__ import annotations

import heapq
import os
import shutil
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from launcher.item import Item, ItemFilter
from launcher.paths import RunPaths
from launcher.queues import Store

BATCH = 250
"""Items forgotten in one transaction, so that agents never wait long for it."""


@dataclass(slots=True)
class Collected:
    """What was cleared away, or would be: `items` forgotten, `folders` with `size` bytes in them, `freed` parts of
    documents. `missing` folders are not there (any more, or not on this machine), those `elsewhere` lie below another
    agent's folder; `failures` says what could not be removed, and why."""

    items: int = 0
    folders: int = 0
    size: int = 0
    freed: int = 0
    missing: int = 0
    elsewhere: int = 0
    failures: list[str] = field(default_factory=list)


def collect(  # noqa: PLR0913 - each is one option of the command
    store: Store, runs: Path, which: ItemFilter, *, keep: int = 0, items: bool = False, dry_run: bool = False
) -> Collected:
    """Remove the folders below `runs` of the ended items that `which` selects by its `ended_before`, and with `items`
    these themselves, but for the `keep` of each sweep that ended last. With `dry_run` only count."""
    if which.ended_before is None:
        raise ValueError("which items have ended must be said: ended_before")
    done = Collected()
    spared = _youngest(store, replace(which, ended_before=float("inf")), keep) if keep else set()
    batch: list[str] = []
    for item in store.items(which):
        if item.id in spared:
            continue
        removed = _clear(store, runs, item, done, dry_run)
        if items and removed:
            batch.append(item.id)
        if len(batch) >= BATCH:
            _forget(store, which, batch, done, dry_run)
    _forget(store, which, batch, done, dry_run)
    if items and not dry_run:
        done.freed = store.free()
    return done


def _youngest(store: Store, which: ItemFilter, keep: int) -> set[str]:
    """The IDs of the `keep` items of each sweep that ended last; those without a sweep count as one."""
    heaps: dict[str | None, list[tuple[float, int, str]]] = defaultdict(list)
    for place, item in enumerate(store.items(which)):
        heap = heaps[item.sweep]
        entry = (item.changed_at, place, item.id)
        if len(heap) < keep:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    return {item_id for heap in heaps.values() for _, _, item_id in heap}


def _forget(store: Store, which: ItemFilter, batch: list[str], done: Collected, dry_run: bool) -> None:
    """Items that somebody retried meanwhile are not ended any more, and stay."""
    if batch:
        ids = ItemFilter(ids=tuple(batch), ended_before=which.ended_before)
        done.items += len(batch) if dry_run else store.delete(ids)
    batch.clear()


def _clear(store: Store, runs: Path, item: Item, done: Collected, dry_run: bool) -> bool:
    """Remove the folders of an item's attempts; False if there are some left, for then the item is still needed to say
    whose they are."""
    ours, elsewhere = _folders(store, runs, item)
    done.elsewhere += elsewhere
    home = runs / item.id
    if home.is_symlink():
        done.failures.append(f"{home} is a link, no folder of a run; it is left alone")
        return False
    cleared = [_remove(folder, item, done, dry_run) for folder in ours]
    if not dry_run:
        with suppress(OSError):  # it was never there, or is not empty
            home.rmdir()
    return all(cleared) and not elsewhere


def _folders(store: Store, runs: Path, item: Item) -> tuple[list[Path], int]:
    """Where the folders of an item's attempts are below `runs`, if they are; and how many are elsewhere. A run that
    could not be started has left a folder, too, that the store does not know of."""
    told = {attempt.attempt: attempt.run_dir for attempt in store.attempts(item.id)} if item.attempt > 1 else {}
    told[item.attempt] = item.run_dir
    places = {number: RunPaths.of(runs, item.id, number).folder for number in range(1, item.attempt + 1)}
    ours = [folder for number, folder in places.items() if told.get(number) in (None, str(folder))]
    return ours, len(places) - len(ours)


def _remove(folder: Path, item: Item, done: Collected, dry_run: bool) -> bool:
    try:
        size = _size(folder)
        if not dry_run:
            shutil.rmtree(folder)  # follows no link, and refuses one
    except FileNotFoundError:
        done.missing += str(folder) == item.run_dir
    except OSError as error:
        done.failures.append(f"{error.filename or folder} cannot be removed: {error.strerror or error}")
        return False
    else:
        done.folders += 1
        done.size += size
    return True


def _size(folder: Path) -> int:
    """The bytes of the files in a folder; FileNotFoundError if it is not there."""
    folder.lstat()
    names = (os.path.join(parent, name) for parent, _, files in os.walk(folder) for name in files)  # noqa: PTH118 - fast
    return sum(os.lstat(name).st_size for name in names)
