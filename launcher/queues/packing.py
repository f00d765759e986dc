"""The specs of one sweep share nearly everything, so stores keep a few base documents a sweep and, per item, the
difference to one of them. A difference is a list of `[path, value]` (set) and `[path]` (remove)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BASES = 16
"""How many bases a packer compares a spec with: grids alternate between a handful of group choices."""

LARGEST = 64
"""A spec that differs in more places than this becomes a base itself."""

Difference = list[list[Any]]


class Packer:
    """Packs documents one after another; the caller stores each new base when it is told to.

    >>> packer = Packer()
    >>> packer.pack({"lr": 0.1, "model": {"name": "svm"}})
    (0, [], True)
    >>> packer.pack({"lr": 0.2, "model": {"name": "svm"}})
    (0, [[['lr'], 0.2]], False)
    """

    def __init__(self) -> None:
        self._bases: list[tuple[int, Mapping[str, Any]]] = []
        self._made = 0

    def pack(self, document: Mapping[str, Any]) -> tuple[int, Difference, bool]:
        """The base's number, the difference to it, and whether this document is a new base."""
        for place, (number, base) in enumerate(self._bases):
            changes: Difference = []
            if _compare(base, document, [], changes):
                if place:
                    self._bases.insert(0, self._bases.pop(place))
                return number, changes, False
        number = self._made
        self._made += 1
        self._bases = [(number, document), *self._bases[: BASES - 1]]
        return number, [], True


def unpack(base: Mapping[str, Any], changes: Difference) -> dict[str, Any]:
    """The document that a base and a difference stand for; `base` is left as it is, unchanged parts are shared.

    >>> unpack({"a": {"b": 1, "c": 2}}, [[["a", "b"], 5], [["a", "c"]]])
    {'a': {'b': 5}}
    """
    document = dict(base)
    fresh: set[tuple[str, ...]] = set()
    for path, *value in changes:
        node = document
        for depth, key in enumerate(path[:-1], 1):
            branch = tuple(path[:depth])
            if branch not in fresh:
                node[key] = dict(node[key])
                fresh.add(branch)
            node = node[key]
        if value:
            node[path[-1]] = value[0]
        else:
            del node[path[-1]]
    return document


def _compare(old: Mapping[str, Any], new: Mapping[str, Any], path: list[str], changes: Difference) -> bool:
    """Append what leads from `old` to `new`; False as soon as that is more than `LARGEST` changes."""
    for key, value in new.items():
        if key not in old:
            changes.append([[*path, key], value])
        else:
            before = old[key]
            if before is value:
                continue
            if type(before) is dict and type(value) is dict:
                if not _compare(before, value, [*path, key], changes):
                    return False
            elif not _same(before, value):
                changes.append([[*path, key], value])
        if len(changes) > LARGEST:
            return False
    if len(old) + len(changes) > len(new):  # else no key can have gone
        changes.extend([[*path, key]] for key in old if key not in new)
    return len(changes) <= LARGEST


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON texts: 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    if type(a) is not type(b):
        return False
    if type(a) is list:
        return len(a) == len(b) and all(map(_same, a, b))
    if type(a) is dict:
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    return bool(a == b) and (type(a) is not float or a != 0 or repr(a) == repr(b))
