"""How a store over SQL pushes: specs become rows of temporary tables, of this connection alone, while they are
composed; then one short transaction copies them. A slow grid never holds a lock, and a push is all or nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from launcher import canonical
from launcher.errors import ConflictError
from launcher.item import Receipt, RunState
from launcher.queues.patterns import SpecPacker

if TYPE_CHECKING:
    from launcher.item import Sweep
    from launcher.spec import LaunchSpec

Statements = Callable[[str], str]
Stage = Callable[[Any, str, Sequence[tuple[Any, ...]]], None]

BATCH = 2000
"""Rows that go into a temporary table at a time."""

SHOWN_IDS = 100
ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH = 8
ALIKE = 2
DRAWN = 500
"""So many IDs begin with the same ALIKE characters: they lie on few pages of a large index then, not on many."""

_CHARACTERS = bytes(ID_ALPHABET[byte % len(ID_ALPHABET)].encode()[0] for byte in range(256))


def new_ids() -> Iterator[str]:
    """Run IDs as W&B makes them, 8 random characters, without end.

    >>> len(next(new_ids()))
    8
    """
    own = ID_LENGTH - ALIKE
    while True:
        begin = os.urandom(ALIKE).translate(_CHARACTERS).decode()
        characters = os.urandom(DRAWN * own).translate(_CHARACTERS).decode()
        for place in range(0, DRAWN * own, own):
            yield begin + characters[place : place + own]


def gather(sql: Statements, db: Any, stage: Stage, sweep: Sweep | None, specs: Iterable[LaunchSpec]) -> None:
    """Fill the temporary tables of this connection with the rows of `specs`.

    `stage` puts rows into one of them: bases, shapes or items.
    """
    for table in ("items", "bases", "shapes"):
        db.execute(sql(f"stage_{table}_table"))
        db.execute(sql(f"clear_staged_{table}"))
    packer, new = SpecPacker(), new_ids()
    name = sweep.name if sweep else None
    batch: list[tuple[Any, ...]] = []
    for spec in specs:
        given = spec.document.get("run_id")
        point = canonical.encode(spec.point)
        head = (given or next(new), bool(given), spec.queue_name, name, spec.priority, spec.document.get("name"), point)
        batch.append(head + packer.pack(spec))
        if len(batch) == BATCH:
            _flush(db, stage, packer, batch)
    _flush(db, stage, packer, batch)


def _flush(db: Any, stage: Stage, specs: SpecPacker, batch: list[tuple[Any, ...]]) -> None:
    bases, shapes = specs.packer.take_new()
    stage(db, "bases", [(number, canonical.encode(document)) for number, document in bases])
    changed_and_gone = ((number, shape, canonical.encode(shape.changed)) for number, shape in shapes)
    stage(
        db,
        "shapes",
        [(number, shape.base, text, canonical.encode(shape.gone)) for number, shape, text in changed_and_gone],
    )
    stage(db, "items", batch)
    batch.clear()


def copy(sql: Statements, db: Any, sweep: Sweep | None, *, keep_present: bool, url: str) -> Receipt:
    """Add the gathered rows to the store, within the caller's transaction; what its sweep has already is left out
    unless `keep_present`, and what it has as failed waits again.

    Raises StoreError for a given run_id that is taken.
    """
    now = time.time()
    retried, present = (0, {}) if keep_present or not sweep else _drop_present(sql, db, sweep.name, now)
    _settle_ids(sql, db, url)
    offsets = db.execute(sql("select_offsets")).fetchone()
    values = {"first_base": offsets["first_base"], "first_shape": offsets["first_shape"], "now": now}
    for verb in ("copy_bases", "copy_shapes", "copy_needs", "copy_items", "copy_counts"):
        db.execute(sql(verb), values)
    added = int(db.execute(sql("count_staged")).fetchone()["number"])
    shown = db.execute(sql("select_staged_ids")).fetchall() if added <= SHOWN_IDS else []
    ids = tuple(row["id"] for row in shown)
    return Receipt(sweep.name if sweep else None, added, sum(present.values()), ids, retried, present)


def _drop_present(sql: Statements, db: Any, sweep: str, now: float) -> tuple[int, dict[RunState, int]]:
    """Leave out what the sweep has already; returns how many failed items of it wait again, and the states of the
    others."""
    which = {"sweep": sweep, "now": now}
    retried = int(db.execute(sql("retry_present"), which).rowcount)
    present = {RunState(row["state"]): int(row["number"]) for row in db.execute(sql("count_present"), which)}
    if present:
        db.execute(sql("drop_present"))
    if retried:
        present[RunState.PENDING] -= retried
    return retried, {state: present[state] for state in RunState if present.get(state)}


def _settle_ids(sql: Statements, db: Any, url: str) -> None:
    """Random IDs that happen to be taken are drawn anew; given ones must be free."""
    while taken := db.execute(sql("select_taken_ids")).fetchall():
        given = sorted({row["id"] for row in taken if row["given"]})
        if given:
            raise ConflictError(
                f"run_id {', '.join(map(repr, given))} is taken in {url}; choose another, or leave it out"
            )
        for row in taken:
            db.execute(sql("rename_staged"), {"id": next(new_ids()), "seq": row["seq"]})
