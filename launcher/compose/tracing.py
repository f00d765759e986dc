"""Which leaves does the evaluation of an interpolation read? The plan asks this once for each, to prove that the others
cannot change its value: an evaluation that never read a leaf would come out the same whatever that leaf held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf.base import Node

_read: list[int] = []
"""The ids of the watched leaves that were read; cleared by each trace. Composing is single-threaded, as Hydra is."""


class Tracer:
    """Notes reads of the watched leaves while `tracing`; outside of it they are as they were."""

    def __init__(self, watched: Sequence[Node]) -> None:
        self._watched = [node for node in watched if "_val" in node.__dict__]
        self._unwatched = len(self._watched) < len(watched)

    @contextmanager
    def tracing(self) -> Iterator[list[int]]:
        """The list that fills with the ids of what is read (and is never empty where something cannot be watched)."""
        classes = [type(node) for node in self._watched]
        _read.clear()
        if self._unwatched:
            _read.append(0)
        for node, kind in zip(self._watched, classes, strict=True):
            node.__class__ = _traced(kind)
        try:
            yield _read
        finally:
            for node, kind in zip(self._watched, classes, strict=True):
                node.__class__ = kind


@cache
def _traced(kind: type[Any]) -> type[Any]:
    """A leaf class whose value, kept in the instance under `_val`, cannot be read unnoticed.

    A property of the class comes before the instance's own entry, so every way to the value (`_value`, `str`, the
    checks for None, `???` and interpolation) leads through it.
    """

    def read(self: Any) -> Any:
        _read.append(id(self))
        return self.__dict__["_val"]

    def write(self: Any, value: Any) -> None:
        self.__dict__["_val"] = value

    return type(f"Traced{kind.__name__}", (kind,), {"_val": property(read, write)})
