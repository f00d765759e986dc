"""The axes of a grid: the values of each override, and which of them may be patched into a composed config. Decided
once a grid, from the overrides alone; whether the config allows it is the plan's to prove."""

from __future__ import annotations

import math
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from launcher.errors import ComposeError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from launcher.compose.repository import Repository

INT = re.compile(r"-?(0|[1-9][0-9]*)")
FLOAT = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+([eE][-+]?[0-9]+)?")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NOT_WORDS = frozenset({"null", "true", "false", "inf", "nan"})
SHUFFLE_SEED = 0
LISTED = 1_000_000
"""Values that a key may have at most where they are listed: a range of floats, and what is shuffled. A plain range of
whole numbers is not."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The override strings of one key, in order. `values` holds what they mean, one for each, where points may be made
    by setting that key alone; None where Hydra must compose (a config group, a key that is added or deleted, …)."""

    key: str
    strings: Sequence[str]
    values: Sequence[Any] | None = None

    def __len__(self) -> int:
        return len(self.strings)


@dataclass(frozen=True, slots=True)
class RangeStrings(Sequence[str]):
    """`key=number` for each number of a range, made when asked for: a range of a million points takes no memory."""

    key: str
    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return RangeStrings(self.key, self.numbers[index])
        return f"{self.key}={self.numbers[index]}"

    def __iter__(self) -> Iterator[str]:
        return (f"{self.key}={number}" for number in self.numbers)


def plan_axes(
    columns: Sequence[tuple[Override, Sequence[str]]], is_group: Callable[[str], bool], repository: Repository
) -> Iterator[Axis]:
    """One axis for each override and the strings that it contributes, in order."""
    overrides = [override for override, _ in columns]
    # Deleting by value, and adding a key, read the config while it is composed, so it must hold every value by then.
    reads = any(
        (o.is_delete() and o.value() is not None) or o.is_add() for o in overrides if not is_group(o.key_or_group)
    )
    keys = [override.key_or_group for override in overrides]
    for override, strings in columns:
        key = override.key_or_group
        plain = override.package is None and override.get_key_element() == key and not is_group(key)
        alone = sum(_overlap(key, other) for other in keys) == 1
        values = plain_values(strings, repository) if plain and alone and not reads else None
        yield Axis(override.get_key_element(), strings, values)


def axis_strings(override: Override) -> Sequence[str]:
    """What one override contributes to the points, as BasicSweeper writes it. Raises ComposeError for no value."""
    from hydra.errors import HydraException

    key = override.get_key_element()
    if not override.is_sweep_override():
        return (f"{key}={override.get_value_element_as_str()}",)
    if not override.is_discrete_sweep():
        raise ComposeError(f"{override.input_line}: an interval has no points; name its values, or use range()")
    try:
        value: Any = override.value()
        if override.is_range_sweep():
            _check_count(override)
        if override.is_range_sweep() and not value.shuffle and isinstance(numbers := value.range(), range):
            strings: Sequence[str] = RangeStrings(key, numbers)
        else:
            with _same_shuffle_every_time():
                strings = tuple(f"{key}={value}" for value in override.sweep_string_iterator())
    except (HydraException, ValueError) as error:
        raise ComposeError(f"{override.input_line}: {error}") from error
    if not strings:
        raise ComposeError(f"{override.input_line}: no value, so the grid is empty; give this key at least one")
    return strings


def _check_count(override: Override) -> None:
    """Refuse a range of more values than can be listed, or counted, before anything lists them."""
    value: Any = override.value()
    start, stop, step = value.start, value.stop, value.step
    whole = all(isinstance(number, int) for number in (start, stop, step))
    if not step:
        return  # Hydra has words for it
    count = -((start - stop) // step) if whole else (float(stop) - float(start)) / float(step)
    most = sys.maxsize if whole and not value.shuffle else LISTED
    if not count <= most:  # nor is NaN
        told = f"{count:,}" if whole else f"{count:,.0f}" if math.isfinite(count) else "endlessly many"
        kind = "range of floats, or a shuffled one," if most == LISTED else "range of whole numbers"
        raise ComposeError(f"{override.input_line}: {told} values; a {kind} may have {most:,}; take a larger step")


@contextmanager
def _same_shuffle_every_time() -> Iterator[None]:
    """Hydra's `shuffle(…)` draws from the process's generator; a preview must show the order that `add` will use."""
    state = random.getstate()
    random.seed(SHUFFLE_SEED)
    try:
        yield
    finally:
        random.setstate(state)


def _overlap(key: str, other: str) -> bool:
    return key == other or key.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{key}.", f"{key}["))


def plain_values(strings: Sequence[str], repository: Repository) -> Sequence[Any] | None:
    """What `key=value` strings mean; None as soon as one is not a number, a text, a boolean or null."""
    if isinstance(strings, RangeStrings):
        return strings.numbers
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
