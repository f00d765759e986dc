"""The SQL of the stores: one statement a file, `<dialect>/<verb>.sql`, loaded and cached by one function."""

from __future__ import annotations

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def statement(dialect: str, verb: str) -> str:
    """The text of one statement.

    >>> statement("sqlite", "count_items").split()[0]
    'SELECT'
    """
    return (FOLDER / dialect / f"{verb}.sql").read_text(encoding="utf-8")


@cache
def migrations(dialect: str) -> tuple[str, ...]:
    """The scripts that lead from an empty store to the newest version, in order; the version is their number."""
    files = sorted((FOLDER / dialect / "migrations").glob("*.sql"))
    return tuple(file.read_text(encoding="utf-8") for file in files)
