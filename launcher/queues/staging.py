"""How the SQLite store pushes: specs become rows of temporary tables, of this connection alone, while they are
composed; then one short transaction copies them. A slow grid never holds the write lock, and a push is all or
nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from launcher import canonical
from launcher.errors import StoreError
from launcher.queues import MAX_ATTEMPTS
from launcher.queues.packing import Packer
from launcher.queues.sql import statement

if TYPE_CHECKING:
    from launcher.item import Sweep
    from launcher.spec import LaunchSpec

BATCH = 500
SHOWN_IDS = 100
ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH = 8


def new_id() -> str:
    """A run ID as W&B makes them: 8 random characters.

    >>> len(new_id())
    8
    """
    return "".join(ID_ALPHABET[byte % len(ID_ALPHABET)] for byte in os.urandom(ID_LENGTH))


def gather(db: sqlite3.Connection, sweep: Sweep | None, specs: Iterable[LaunchSpec]) -> int:
    """Fill the temporary tables of this connection with the rows of `specs`; returns how many those are."""
    for table in ("items", "bases", "shapes"):
        db.execute(_sql(f"stage_{table}_table"))
        db.execute(_sql(f"clear_staged_{table}"))
    db.execute("BEGIN")
    try:
        return _gather(db, sweep.name if sweep else None, specs)
    finally:
        db.execute("COMMIT")


def _gather(db: sqlite3.Connection, sweep: str | None, specs: Iterable[LaunchSpec]) -> int:
    packer = Packer()
    batch: list[tuple[Any, ...]] = []
    gathered = 0
    for spec in specs:
        shape, leaves = packer.pack(spec.document)
        given = spec.document.get("run_id")
        batch.append((
            given or new_id(), bool(given), spec.queue_name, sweep, spec.priority, spec.document.get("name"),
            shape, canonical.encode(leaves), canonical.encode(spec.point), spec.fingerprint(),
        ))  # fmt: skip
        if len(batch) == BATCH:
            gathered += _stage(db, packer, batch)
            batch.clear()
    return gathered + _stage(db, packer, batch)


def _stage(db: sqlite3.Connection, packer: Packer, batch: list[tuple[Any, ...]]) -> int:
    bases, shapes = packer.take_new()
    db.executemany(_sql("stage_base"), [(number, canonical.encode(document)) for number, document in bases])
    db.executemany(
        _sql("stage_shape"),
        [
            (number, shape.base, canonical.encode(shape.changed), canonical.encode(shape.gone))
            for number, shape in shapes
        ],
    )
    db.executemany(_sql("stage_item"), batch)
    return len(batch)


def copy(db: sqlite3.Connection, url: str, *, keep_present: bool) -> tuple[int, tuple[str, ...]]:
    """Add the gathered rows to the store, within the caller's transaction; returns how many, and few new IDs.

    Raises StoreError for a given run_id that is taken.
    """
    if not keep_present:
        db.execute(_sql("drop_present"))
    _settle_ids(db, url)
    offsets = dict(db.execute(_sql("select_offsets")).fetchone())
    values = {**offsets, "now": time.time(), "max_attempts": MAX_ATTEMPTS}
    for verb in ("copy_bases", "copy_shapes", "copy_items", "copy_counts"):
        db.execute(_sql(verb), values)
    added = int(db.execute(_sql("count_staged")).fetchone()[0])
    return added, tuple(row[0] for row in db.execute(_sql("select_staged_ids"))) if added <= SHOWN_IDS else ()


def _settle_ids(db: sqlite3.Connection, url: str) -> None:
    """Random IDs that happen to be taken are drawn anew; given ones must be free."""
    while taken := db.execute(_sql("select_taken_ids")).fetchall():
        given = sorted({row["id"] for row in taken if row["given"]})
        if given:
            raise StoreError(f"run_id {', '.join(map(repr, given))} is taken in {url}; choose another, or leave it out")
        db.executemany(_sql("rename_staged"), [(new_id(), row["seq"]) for row in taken])


def _sql(verb: str) -> str:
    return statement("sqlite", verb)
