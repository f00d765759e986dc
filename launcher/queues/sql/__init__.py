"""The SQL of the stores: one statement a file, `<dialect>/<verb>.sql`, loaded and cached by one function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def statement(dialect: str, verb: str, *conditions: str) -> str:
    """The text of one statement; `conditions` name the files that its `{where}` stands for, none of them for any row.

    >>> statement("sqlite", "delete_items", "where_sweep").splitlines()[-1]
    "DELETE FROM items WHERE state NOT IN ('leased', 'running') AND sweep = :sweep"
    """
    text = (FOLDER / dialect / f"{verb}.sql").read_text(encoding="utf-8")
    clauses = (statement(dialect, condition).strip() for condition in conditions)
    return text.replace("{where}", " AND ".join(clauses) or "true")


@dataclass(frozen=True, slots=True)
class Script:
    """One migration: the name of its file, and its SQL."""

    name: str
    text: str


@cache
def migrations(dialect: str) -> tuple[Script, ...]:
    """The scripts that lead from an empty store to the newest version, in order; the version is their number."""
    files = sorted((FOLDER / dialect / "migrations").glob("*.sql"))
    return tuple(Script(file.name, file.read_text(encoding="utf-8")) for file in files)
