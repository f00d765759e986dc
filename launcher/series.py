"""Metrics over time: the points that a run reported with a step. `launcher.report` appends them to a file, the agent
packs that file for the store when the run ends, and tables and plots read either."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher import canonical
from launcher.paths import write_atomically

STEP = "step"

POINTS = 10_000
"""How many points of a run are kept, about: when there are more, half of them go, evenly over its steps."""

LARGEST = 2**63
"""Integers beyond are no numbers that JSON's other readers take, nor are steps that are infinite or none."""

Point = Mapping[str, Any]
"""A step and the metrics at it."""


class SeriesFile:
    """The file that one run's points go to, a JSON object a line; one process of the run writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = len(read(path))
        self._full = max(POINTS, 2 * self._lines)

    def append(self, point: Point) -> None:
        """Add a point, at the cost of one write; every few thousand, thin those that are there."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(canonical.encode(point) + "\n")
        self._lines += 1
        if self._lines > self._full:
            kept = thinned(read(self._path), POINTS // 2)
            write_atomically(self._path, "".join(canonical.encode(point) + "\n" for point in kept))
            self._lines = len(kept)
            self._full = max(POINTS, 2 * self._lines)


def read(path: Path) -> list[dict[str, Any]]:
    """The points in a file, in the order they came; none where there is no file. A line that was cut off, because its
    run was killed, or is being written, is left out."""
    try:
        return list(_kept(_points(path.read_bytes().split(b"\n"))))
    except OSError:
        return []


def pack(points: Sequence[Point]) -> bytes | None:
    """Points as a store keeps them; None where there are none."""
    return zlib.compress(b"\n".join(canonical.encode(point).encode() for point in points)) if points else None


def unpack(packed: bytes) -> list[dict[str, Any]]:
    """The points that `pack` packed.

    >>> unpack(zlib.compress(b'{"step":1,"loss":0.5}'))
    [{'step': 1, 'loss': 0.5}]
    """
    return list(_points(zlib.decompress(packed).split(b"\n")))


def to_history(packed: bytes) -> list[str]:
    """Packed points as the lines of W&B's history, whose step is `_step`.

    >>> to_history(zlib.compress(b'{"step":1,"loss":0.5}'))
    ['{"_step":1,"loss":0.5}']
    """
    return [
        canonical.encode({f"_{STEP}": point[STEP], **{name: point[name] for name in point if name != STEP}})
        for point in unpack(packed)
    ]


def of_history(lines: Iterable[bytes]) -> bytes | None:
    """The numbers in the lines of W&B's history, however many, thinned and packed; None where there are none.

    >>> unpack(of_history([b'{"_step":1,"loss":0.5,"_runtime":3}']) or b"")
    [{'step': 1, 'loss': 0.5}]
    """
    points: list[Point] = []
    for point in _kept(map(_of_row, _points(lines, f"_{STEP}"))):
        if len(point) > 1:
            points.append(point)
        if len(points) > 4 * POINTS:
            points = thinned(points, 2 * POINTS)
    return pack(thinned(points, POINTS))


def _of_row(row: Point) -> Point:
    """The step of a row of W&B's history, whatever a metric of that name says, and its numbers."""
    numbers = {name: value for name, value in row.items() if name[:1] != "_" and name != STEP and _is_number(value)}
    return {STEP: row[f"_{STEP}"], **numbers}


def last_values(points: Iterable[Point]) -> dict[str, Any]:
    """The last value of each metric.

    >>> last_values([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}, {"step": 2, "accuracy": 0.9}])
    {'loss': 0.4, 'accuracy': 0.9}
    """
    found = {name: value for point in points for name, value in point.items()}
    found.pop(STEP, None)
    return found


def thinned(points: Sequence[Point], limit: int) -> list[Point]:
    """About `limit` of these points, spread evenly over their steps: the last one of each stretch. Points with
    different metrics are thinned apart, so that those that come seldom stay.

    >>> [point["step"] for point in thinned([{"step": step, "loss": 0.0} for step in range(10)], 5)]
    [1, 3, 5, 7, 9]
    """
    kinds: dict[tuple[str, ...], list[int]] = {}
    for place, point in enumerate(points):
        kinds.setdefault(tuple(sorted(point)), []).append(place)
    kept: list[int] = []
    room = limit
    for number, places in enumerate(sorted(kinds.values(), key=len)):
        share = max(1, room // (len(kinds) - number))
        chosen = _spread(points, places, share)
        kept += chosen
        room -= len(chosen)
    return [points[place] for place in sorted(kept)]


def _spread(points: Sequence[Point], places: Sequence[int], limit: int) -> list[int]:
    if len(places) <= limit:
        return list(places)
    steps = [float(points[place][STEP]) for place in places]
    width = 2.0 ** math.ceil(
        math.log2(max((max(steps) - min(steps)) / limit, 1e-300))
    )  # stretches hold whole earlier ones
    last_of = {step // width: place for step, place in zip(steps, places, strict=True)}
    return sorted({*last_of.values(), places[-1]})  # what came last stays, however its step compares


def _points(lines: Iterable[bytes], step: str = STEP) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            point = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(point, dict) and _is_number(point.get(step)) and -LARGEST <= point[step] < LARGEST:
            yield point


def _kept(points: Iterable[Point]) -> Iterator[dict[str, Any]]:
    """Those of what programs wrote that a store can hold, as it holds results; see `launcher.runners.verdict`."""
    for point in points:
        try:
            held = canonical.finite(point)
            canonical.encode(held)
        except (TypeError, RecursionError):  # a lone surrogate; nested deeper than others read
            continue
        yield held


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and -LARGEST <= value < LARGEST)
