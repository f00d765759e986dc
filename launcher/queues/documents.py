"""The documents of items, put together from what a store keeps of them (`packing`); stores over SQL read with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launcher import canonical
from launcher.errors import StoreError

KEPT_SHAPES = 64


class Documents:
    """Reads documents over connections of a dialect; `sql` gives its statements. Keeps the shapes that it has read, for
    most items share one."""

    def __init__(self, sql: Callable[[str], str]) -> None:
        self._sql = sql
        self._shapes: dict[int, tuple[Any, ...]] = {}

    def of(self, db: Any, row: Any) -> dict[str, Any]:
        """The document of a row that has its item's shape and leaves."""
        from launcher.queues.packing import unpack  # whoever only counts starts sooner

        shape = self._shapes.get(row["shape"])
        if shape is None:
            if len(self._shapes) >= KEPT_SHAPES:
                self._shapes.clear()
            found = db.execute(self._sql("select_shape"), {"id": row["shape"]}).fetchone()
            if found is None:
                raise StoreError(
                    f"the document of an item cannot be read: its shape {row['shape']} is gone, because the item was "
                    "deleted at this moment, or the store is damaged (launcher store check)"
                )
            parts = (found["document"], found["changed"], found["gone"])
            shape = self._shapes[row["shape"]] = tuple(map(canonical.decode, parts))
        base, changed, gone = shape
        return unpack(base, changed, gone, canonical.decode(row["leaves"]))
