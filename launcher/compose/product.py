"""The combinations of a grid's axes, by number or one after another, without ever holding them: products, axes that
advance together, and reproducible samples and shuffles of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.compose.axes import Axis

ROUNDS = 4
WORD = (1 << 64) - 1

Combination = tuple[tuple[str, ...], tuple[Any, ...]]
"""The override strings of a point, one for each axis, and their values (None where the axis has none)."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """Axes that advance together (one, unless they are zipped); all have the same number of values."""

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return len(self.axes[0])

    def __getitem__(self, index: int) -> Combination:
        return (
            tuple([axis.strings[index] for axis in self.axes]),
            tuple([axis.values[index] if axis.values is not None else None for axis in self.axes]),
        )

    def __iter__(self) -> Iterator[Combination]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, slots=True)
class Product:
    """Every combination of its dimensions, the first varying slowest."""

    dimensions: tuple[Dimension, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of all dimensions, in order."""
        return tuple(axis for dimension in self.dimensions for axis in dimension.axes)

    def __len__(self) -> int:
        return math.prod(map(len, self.dimensions))

    def __getitem__(self, index: int) -> Combination:
        strings: tuple[str, ...] = ()
        values: tuple[Any, ...] = ()
        for dimension in reversed(self.dimensions):
            index, place = divmod(index, len(dimension))
            some_strings, some_values = dimension[place]
            strings, values = (*some_strings, *strings), (*some_values, *values)
        return strings, values

    def __iter__(self) -> Iterator[Combination]:
        return _product(self.dimensions)


def _product(dimensions: Sequence[Dimension]) -> Iterator[Combination]:
    """Like itertools.product, which would copy each of its inputs first."""
    if not dimensions:
        yield (), ()
        return
    for strings, values in _product(dimensions[:-1]):
        for more_strings, more_values in dimensions[-1]:
            yield (*strings, *more_strings), (*values, *more_values)


def permutation(size: int, seed: int) -> Iterator[int]:
    """The numbers below `size` in an order that depends on `seed` alone, on every machine and Python version.

    A Feistel network permutes the numbers below a power of four; those that fall outside are sent through it again
    until they fall inside. So nothing is kept, and the first n numbers are a sample without replacement.

    >>> sorted(permutation(5, seed=1))
    [0, 1, 2, 3, 4]
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    keys = [_mixed(seed * ROUNDS + turn + 1) for turn in range(ROUNDS)]
    for number in range(size):
        place = number
        while True:
            left, right = place >> half, place & mask
            for key in keys:
                left, right = right, left ^ (_mixed(right ^ key) & mask)
            place = left << half | right
            if place < size:
                break
        yield place


def _mixed(word: int) -> int:
    """SplitMix64's finalizer: each bit of the word changes about half of the result's."""
    word = (word + 0x9E3779B97F4A7C15) & WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)
