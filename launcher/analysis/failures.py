"""Failed runs, folded by cause: what each cause is, whom it hit, and what those have in common that others have not."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from launcher import canonical
from launcher.analysis.table import Results
from launcher.analysis.values import is_number, meant, order
from launcher.item import RunState
from launcher.paths import RunPaths

RAISED = re.compile(r"exit code \d+: (?P<type>[A-Za-z_][\w.]*)(?:: .*)? \((?P<place>[^()]+:\d+ in [^()]+)\)", re.DOTALL)
SAID = re.compile(r"exit code \d+: (?P<type>[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit))\b")
MEMORY = re.compile(r"out of memory|MemoryError|OutOfMemory|Cannot allocate memory|std::bad_alloc", re.IGNORECASE)
VARIES = re.compile(r"0x[0-9a-fA-F]+|/[\w./-]+|\b[0-9a-f]{8,}\b|\d+(\.\d+)?([eE][-+]?\d+)?|'[^']*'|\"[^\"]*\"")
"""What differs between reasons that mean the same: addresses, paths, numbers, quoted words."""

KINDS = ("out of memory", "exception", "signal", "timeout", "lost", "exit code", "preparation", "submission", "result")
STAGES = {
    "timeout": "timeout", "lost": "lost", "prepare": "preparation", "submit": "submission", "result": "result",
}  # fmt: skip
"""The kinds of what failed elsewhere than in the program."""

LISTED = 3
"""So many values of a key are listed at most in what runs have in common."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why runs failed: its `kind` (one of KINDS) and what tells it from others of that kind; `key` names it."""

    kind: str
    title: str

    @property
    def key(self) -> str:
        """Six hexadecimal digits that name this cause wherever it comes."""
        return canonical.digest([self.kind, self.title])[:6]


@dataclass(frozen=True, slots=True)
class Common:
    """What failed runs have in common: `conditions` that hold for all of them, and for how many of the runs that have
    ended."""

    conditions: tuple[str, ...]
    of: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The runs that failed from one cause, as rows of the table, oldest first."""

    cause: Cause
    rows: tuple[int, ...]
    common: Common | None


def cause(stage: str | None, exit_code: int | None, reason: str | None) -> Cause:
    """The cause of a failure, from what the store has of it.

    >>> cause("run", 1, "exit code 1: ValueError: bad lr 0.5 (train.py:9 in fit)")
    Cause(kind='exception', title='ValueError (train.py:9 in fit)')
    >>> cause("run", 3, "exit code 3: no data in /tmp/x7").title
    'exit code 3: no data in …'
    """
    text = reason or ""
    raised, said = RAISED.match(text), SAID.match(text)
    if MEMORY.search(text):
        where = f" ({raised['place']})" if raised else ""
        return Cause("out of memory", f"out of memory{where}")
    if stage in STAGES:
        return Cause(STAGES[stage], _alike(text))
    if exit_code is not None and exit_code < 0:
        return Cause("signal", text.partition(":")[0])
    if raised:
        return Cause("exception", f"{raised['type']} ({raised['place']})")
    if said:
        return Cause("exception", said["type"])
    code, _, rest = text.partition(":")
    return Cause("exit code", f"{code}:{_alike(rest)}" if rest else code or "unknown")


@lru_cache(maxsize=1 << 14)
def _alike(text: str) -> str:
    return VARIES.sub("…", text)


def fold(results: Results) -> list[Failure]:
    """The failed runs by cause, the most frequent first."""
    facts = results.facts
    told = zip(facts["state"], facts["stage"], facts["exit_code"], facts["reason"], strict=True)
    known: dict[tuple[str | None, int | None, str | None], Cause] = {}
    rows_of: dict[Cause, list[int]] = {}
    for row, (state, *why) in enumerate(told):
        if state == RunState.FAILED.value:
            found = known.get(key := (why[0], why[1], why[2]))
            if found is None:
                found = known[key] = cause(*key)
            rows_of.setdefault(found, []).append(row)
    ranked = sorted(rows_of.items(), key=lambda each: -len(each[1]))
    rows_with = _rows_with(results)
    return [Failure(found, tuple(rows), _common(results, rows_with, rows)) for found, rows in ranked]


Having = Mapping[str, Mapping[str | None, set[int]]]


def _rows_with(results: Results) -> Having:
    """The ended runs that have each value of each key that varies."""
    ended = {RunState.FINISHED.value, RunState.FAILED.value}
    rows = [row for row, state in enumerate(results.facts["state"]) if state in ended]
    found: dict[str, dict[str | None, set[int]]] = {}
    for key in results.varying:
        column = results.column(key)
        values: dict[str | None, set[int]] = {}
        for row in rows:
            values.setdefault(column[row], set()).add(row)
        found[key] = values
    return found


def _common(results: Results, rows_with: Having, rows: Sequence[int]) -> Common | None:
    """The fewest conditions that hold for all of `rows`, and for as few others as can be: one after the other, each the
    one that leaves the fewest. None for a single run, with which anything is in common."""
    if len(rows) < 2:
        return None
    candidates: dict[str, set[int]] = {}
    for key, values in rows_with.items():
        column = results.column(key)
        having = {column[row] for row in rows}
        text = _condition(key, having, values.keys())
        if text:
            candidates[text] = set().union(*(values[value] for value in having))
    chosen: list[str] = []
    left: set[int] | None = None
    while candidates:
        text, narrowed = min(
            ((text, found if left is None else left & found) for text, found in candidates.items()),
            key=lambda each: len(each[1]),
        )
        if left is not None and len(narrowed) >= len(left):
            break
        chosen.append(text)
        left = narrowed
        del candidates[text]
        if len(left) == len(rows):
            break
    return Common(tuple(chosen), len(left)) if left is not None else None


def _condition(key: str, having: set[str | None], values: Collection[str | None]) -> str | None:
    """What says that a key has one of these values: themselves where they are few, a bound where they are those beyond
    it; None where they are all that there are, or say nothing simple."""
    if len(having) >= len(values) or None in having:
        return None
    if len(having) == 1:
        return f"{key}={next(iter(having))}"
    ordered = sorted(values, key=order)
    numeric = all(is_number(meant(value)) for value in ordered)
    if numeric and having == set(ordered[-len(having) :]):
        return f"{key}>={ordered[-len(having)]}"
    if numeric and having == set(ordered[: len(having)]):
        return f"{key}<={ordered[len(having) - 1]}"
    if len(having) <= LISTED:
        return " or ".join(f"{key}={value}" for value in sorted(having, key=order))
    return None


def shared(table: Results, each: Failure) -> str:
    """What the failed runs have in common, and how many of those who have it too ended otherwise."""
    if each.common:
        of = f"{len(each.rows):,} of {each.common.of:,} runs with"
        return f"{of} {' and '.join(each.common.conditions)}"
    if len(each.rows) == 1:
        point = [f"{key}={table.column(key)[each.rows[0]]}" for key in table.varying]
        return " ".join(point) or "the only run of its kind"
    return "no value of a swept key tells these from the others"


def example(table: Results, each: Failure) -> int:
    """The newest of them whose log is here, as far as a few tries find one; else the newest."""
    newest = each.rows[-8:][::-1]
    return next((row for row in newest if (log := log_of(table, row)) and log.is_file()), newest[0])


def log_of(table: Results, row: int) -> Path | None:
    """Where the log of a row's run lies, if it has one."""
    folder = table.facts["run_dir"][row]
    return RunPaths(Path(folder)).log if folder else None
