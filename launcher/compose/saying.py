"""Composed configs as JSON says them: what they hold beyond it (an enum's member, a path, infinity, keys that are
numbers) becomes text, as YAML writes it. The dispatcher makes each point's `run_config` so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any

from launcher import canonical

KEPT = 4096
"""Containers whose form is remembered: the points of a grid share what does not vary."""

LEAVES = frozenset({str, int, bool, type(None)})
Place = tuple[str | int, ...]
Said = tuple[Any, tuple[Place, ...]]


@dataclass(slots=True)
class Saying:
    """Says configs as JSON, one after another; none may be changed meanwhile.

    >>> Saying().of({"root": PurePath("/data"), "lr": {"max": math.inf}, "names": {1: "one"}})
    ({'root': '/data', 'lr': {'max': 'Infinity'}, 'names': {'1': 'one'}}, (('lr', 'max'),))
    """

    _same: dict[int, Any] = field(default_factory=dict)  # containers by ID, held so that no others get theirs
    _known: dict[int, tuple[Any, Said]] = field(default_factory=dict)

    def of(self, config: Mapping[str, Any]) -> Said:
        """The config, and where texts stand in it for numbers that JSON has not. What is JSON already is shared, and
        what has no such form stays, for the schema to refuse."""
        return self._mapping(config)

    def _value(self, value: Any) -> Said:
        if not isinstance(value, dict | list | tuple):
            finite = not isinstance(value, float) or math.isfinite(value)
            return (text_of(value), ()) if finite else (canonical.finite(value), ((),))
        known = self._known.get(id(value))
        if known is None:
            known = (value, self._mapping(value) if isinstance(value, dict) else self._list(value))
            if len(self._known) + len(self._same) >= KEPT:
                self._known.clear()
                self._same.clear()
            if known[1][0] is value:
                self._same[id(value)] = value
            else:
                self._known[id(value)] = known
        return known[1]

    def _mapping(self, value: Mapping[Any, Any]) -> Said:
        changed, places = self._changes(value.items())
        made = {**value, **changed} if changed else value
        if {*map(type, made)} - {str}:
            named = {_key(key): entry for key, entry in made.items()}
            if len(named) < len(made):  # 1 and "1" would become one key: it stays, and is refused
                return made, ()
            made = named
        return made, tuple([(_key(key), *place) for key, place in places])

    def _list(self, value: Sequence[Any]) -> Said:
        changed, places = self._changes(enumerate(value))
        made = [changed.get(index, entry) for index, entry in enumerate(value)] if changed else value
        return made, tuple([(index, *place) for index, place in places])

    def _changes(self, entries: Iterable[tuple[Any, Any]]) -> tuple[dict[Any, Any], list[tuple[Any, Place]]]:
        changed: dict[Any, Any] = {}
        places: list[tuple[Any, Place]] = []
        same = self._same
        for key, entry in entries:
            kind = type(entry)
            if kind in LEAVES or id(entry) in same or (kind is float and math.isfinite(entry)):
                continue
            said, within = self._value(entry)
            if said is not entry:
                changed[key] = said
                places += [(key, place) for place in within]
        return changed, places


def _key(key: Any) -> Any:
    """A key's text, as YAML writes it."""
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, float):
        from launcher.yaml_text import yaml_text

        return yaml_text({"": key}).partition(":")[2].strip()
    return str(key) if type(key) is int else text_of(key)


def text_of(value: Any) -> Any:
    """A leaf as JSON says it."""
    if isinstance(value, Enum):
        return value.name or str(value)  # several flags together have no name
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace").replace("\0", r"\x00")
    return canonical.plain(value)
