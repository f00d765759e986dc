"""The axes of a grid: which overrides may be patched into a composed config, and what they mean. Decided once a
grid, from the overrides alone; whether the config allows it is the plan's to prove."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from launcher.compose.repository import Repository

INT = re.compile(r"-?(0|[1-9][0-9]*)")
FLOAT = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+([eE][-+]?[0-9]+)?")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NOT_WORDS = frozenset({"null", "true", "false", "inf", "nan"})


@dataclass(frozen=True, slots=True)
class Axis:
    """The override strings of one key, in order. `values` holds what they mean, one for each, where points may be made
    by setting that key alone; None where Hydra must compose (a config group, a key that is added or deleted, …)."""

    strings: tuple[str, ...]
    key: str
    values: tuple[Any, ...] | None = None

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """Each string with its value."""
        return zip(self.strings, self.values if self.values is not None else itertools.repeat(None), strict=False)


def plan_axes(
    overrides: Sequence[tuple[Override, tuple[str, ...]]], is_group: Callable[[str], bool], repository: Repository
) -> Iterator[Axis]:
    """One axis for each override and its strings, in order."""
    # Deleting by value, and adding a key, read the config while it is composed, so it must hold every value by then.
    reads = any(
        (o.is_delete() and o.value() is not None) or o.is_add() for o, _ in overrides if not is_group(o.key_or_group)
    )
    keys = [override.key_or_group for override, _ in overrides]
    for override, strings in overrides:
        key = override.key_or_group
        plain = override.package is None and override.get_key_element() == key and not is_group(key)
        alone = sum(_overlap(key, other) for other in keys) == 1
        values = plain_values(strings, repository) if plain and alone and not reads else None
        yield Axis(strings, key, values)


def _overlap(key: str, other: str) -> bool:
    return key == other or key.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{key}.", f"{key}["))


def plain_values(strings: Sequence[str], repository: Repository) -> tuple[Any, ...] | None:
    """What `key=value` strings mean; None as soon as one is not a number, a text, a boolean or null."""
    values = []
    for string in strings:
        value = plain_value(string, repository)
        if isinstance(value, str) and ("${" in value or value == "???"):
            return None
        if not (value is None or isinstance(value, str | int | float | bool)):
            return None
        values.append(value)
    return tuple(values)


def plain_value(string: str, repository: Repository) -> Any:
    """What one `key=value` string means: by Hydra's parser, but for the plain words and numbers of its grammar."""
    text = string.partition("=")[2]
    if INT.fullmatch(text):
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    if WORD.fullmatch(text) and text.lower() not in NOT_WORDS:
        return text
    return repository.parse([string])[0].value()
