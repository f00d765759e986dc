"""The specs of one sweep share nearly everything, so stores keep a few base documents a sweep, the shapes in which
specs differ from them (paths, once for all specs that differ there), and per item only the values at those paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BASES = 16
"""How many bases a packer compares a spec with: grids alternate between a handful of group choices."""

LARGEST = 64
"""A spec that differs in more places than this becomes a base itself."""

Path = tuple[str, ...]

_MISSING = object()
_PLAIN = frozenset({str, int, bool, float})
"""Types whose values are the same JSON text exactly if they are equal, but for 0.0 and -0.0."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Where documents differ from a base: `changed` paths have other values, `gone` ones are not there."""

    base: int
    changed: tuple[Path, ...] = ()
    gone: tuple[Path, ...] = ()


@dataclass(slots=True)
class _Base:
    """A base document with its shapes so far, the most recently used first; each knows the paths it covers."""

    number: int
    document: Mapping[str, Any]
    shapes: list[tuple[int, Shape, frozenset[Path]]] = field(default_factory=list)


class Packer:
    """Packs documents one after another: each becomes the number of a shape, and values. The caller stores the new
    bases and shapes, which `take_new` hands out once.

    >>> packer = Packer()
    >>> packer.pack({"lr": 0.1, "model": {"name": "svm"}})
    (0, [])
    >>> packer.pack({"lr": 0.2, "model": {"name": "svm"}})
    (1, [0.2])
    >>> packer.take_new()[1]
    [(0, Shape(base=0, changed=(), gone=())), (1, Shape(base=0, changed=(('lr',),), gone=()))]
    """

    def __init__(self) -> None:
        self._bases: list[_Base] = []
        self._made_bases = self._made_shapes = 0
        self._new_bases: list[tuple[int, Mapping[str, Any]]] = []
        self._new_shapes: list[tuple[int, Shape]] = []

    def pack(self, document: Mapping[str, Any]) -> tuple[int, list[Any]]:
        """The number of the document's shape, and its values at the paths that the shape says are changed."""
        number, shape = self.shape(document)
        return number, [at(document, path) for path in shape.changed]

    def shape(self, document: Mapping[str, Any]) -> tuple[int, Shape]:
        """The document's shape, with its number."""
        for place, base in enumerate(self._bases):
            changed: list[Path] = []
            gone: list[Path] = []
            if _compare(base.document, document, (), changed, gone):
                if place:
                    self._bases.insert(0, self._bases.pop(place))
                return self._shape(base, frozenset(changed), tuple(gone), document)
        base = _Base(self._made_bases, document)
        self._made_bases += 1
        self._bases = [base, *self._bases[: BASES - 1]]
        self._new_bases.append((base.number, document))
        return self._add(base, (), ())

    def take_new(self) -> tuple[list[tuple[int, Mapping[str, Any]]], list[tuple[int, Shape]]]:
        """The bases and shapes made since the last call, each with its number."""
        taken = self._new_bases, self._new_shapes
        self._new_bases, self._new_shapes = [], []
        return taken

    def _shape(
        self, base: _Base, changed: frozenset[Path], gone: tuple[Path, ...], document: Mapping[str, Any]
    ) -> tuple[int, Shape]:
        """A shape that covers the changed paths; one that covers more is as good, the values there being the base's.

        A new shape covers what the last one did, too, where that is there: so a base has few of them.
        """
        covered: list[Path] = []
        for place, (number, shape, paths) in enumerate(base.shapes):
            if shape.gone == gone and changed <= paths and (changed == paths or _has(document, shape.changed)):
                if place:
                    base.shapes.insert(0, base.shapes.pop(place))
                return number, shape
            if not covered and shape.gone == gone and len(paths) < LARGEST and _has(document, shape.changed):
                covered = [path for path in shape.changed if not any(_below(path, other) for other in changed)]
        return self._add(base, (*covered, *sorted(changed - set(covered))), gone)

    def _add(self, base: _Base, changed: tuple[Path, ...], gone: tuple[Path, ...]) -> tuple[int, Shape]:
        number = self._made_shapes
        self._made_shapes += 1
        shape = Shape(base.number, changed, gone)
        base.shapes.insert(0, (number, shape, frozenset(changed)))
        self._new_shapes.append((number, shape))
        return number, shape


def unpack(
    base: Mapping[str, Any], changed: Sequence[Path], gone: Sequence[Path], values: Sequence[Any]
) -> dict[str, Any]:
    """The document that a base, a shape and values stand for; `base` is left as it is, unchanged parts are shared.

    >>> unpack({"a": {"b": 1, "c": 2}}, [("a", "b")], [("a", "c")], [5])
    {'a': {'b': 5}}
    """
    document = dict(base)
    fresh: set[Path] = set()
    for path, value in zip(changed, values, strict=True):
        _parent(document, path, fresh)[path[-1]] = value
    for path in gone:
        del _parent(document, path, fresh)[path[-1]]
    return document


def _parent(document: dict[str, Any], path: Sequence[str], fresh: set[Path]) -> dict[str, Any]:
    """The mapping that holds the end of `path`, copied once on the way there."""
    node = document
    for depth, key in enumerate(path[:-1], 1):
        branch = tuple(path[:depth])
        if branch not in fresh:
            node[key] = dict(node[key])
            fresh.add(branch)
        node = node[key]
    return node


def _compare(old: Mapping[str, Any], new: Mapping[str, Any], path: Path, changed: list[Path], gone: list[Path]) -> bool:
    """Append what leads from `old` to `new`; False as soon as that is more than `LARGEST` paths."""
    added = 0
    for key, value in new.items():
        before = old.get(key, _MISSING)
        kind = type(value)
        if before is value or (
            before == value and kind is type(before) and kind in _PLAIN and (value or kind is not float)
        ):
            continue
        if kind is dict and type(before) is dict:
            if not _compare(before, value, (*path, key), changed, gone):
                return False
        elif before is _MISSING or not _same(before, value):
            added += before is _MISSING
            changed.append((*path, key))
            if len(changed) > LARGEST:
                return False
    if len(old) + added > len(new):  # else no key can have gone
        gone.extend((*path, key) for key in old if key not in new)
    return len(changed) + len(gone) <= LARGEST


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON texts: 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    if type(a) is not type(b):
        return False
    if type(a) is list:
        return len(a) == len(b) and all(map(_same, a, b))
    if type(a) is dict:
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    return bool(a == b) and (type(a) is not float or a != 0 or repr(a) == repr(b))


def at(document: Mapping[str, Any], path: Path) -> Any:
    """What lies at a path; KeyError or TypeError where nothing does."""
    node: Any = document
    for key in path:
        node = node[key]
    return node


def _has(document: Mapping[str, Any], paths: Sequence[Path]) -> bool:
    for path in paths:
        node: Any = document
        for key in path:
            if type(node) is not dict or key not in node:
                return False
            node = node[key]
    return True


def _below(path: Path, other: Path) -> bool:
    """Whether one of them lies within the other, but they are not the same."""
    return path != other and (path[: len(other)] == other or other[: len(path)] == path)
