"""The texts of overrides as what they mean: a point's keys, and its values as numbers, truth values or texts."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

WHOLE = r"(0|[1-9](_?[0-9])*)"
POINT = rf"({WHOLE}\.|{WHOLE}?\.[0-9](_?[0-9])*)"
INT = re.compile(rf"[-+]?{WHOLE}")
FLOAT = re.compile(rf"[-+]?({POINT}|({WHOLE}|{POINT})e[-+]?[0-9](_?[0-9])*|inf|nan)", re.IGNORECASE)
SPACED = re.compile(r"[ \t]*((?:\\.|\\\Z|[^\\])*?)[ \t]*", re.DOTALL)
QUOTED = re.compile(r"(['\"])(?:(?!\1)[^\\]|\\.)*\1", re.DOTALL)
ESCAPED = re.compile(r"(\$\{[^}]+\})|\\([\\()\[\]{}:=, \t])")
"""Texts as the grammar of Hydra's overrides reads them: `1_`, `007`, `0x1F` and `1:30` are no numbers."""

WORDS = {"true": True, "false": False, "null": None}
SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How results hold the numbers that JSON has not."""


@lru_cache(maxsize=1 << 16)
def split(override: str) -> tuple[str, str]:
    """An override's key, without Hydra's marks for adding, and its value as it was written.

    >>> split("++optim.lr=0.10"), split("~model")
    (('optim.lr', '0.10'), ('~model', ''))
    """
    key, _, value = override.partition("=")
    return key.lstrip("+"), value


@lru_cache(maxsize=1 << 16)
def meant(text: str | None) -> Any:
    """What an override's value means to Hydra: a number, a truth value, None, or a text (without its quotes). Lists and
    mappings stay as they are written.

    >>> [meant(text) for text in ("1_000", "1_", "1e-3", "true", "null", "'a b'", "[1,2]")]
    [1000, '1_', 0.001, True, None, 'a b', '[1,2]']
    """
    if text is None:
        return None
    spaced = SPACED.fullmatch(text) if text.strip(" \t") != text else None
    word = spaced[1] if spaced else text
    if word.lower() in WORDS:
        return WORDS[word.lower()]
    if FLOAT.fullmatch(word):
        return float(word)
    try:
        return int(word) if INT.fullmatch(word) else _unquoted(word)
    except ValueError:  # more digits than Python reads
        return word


def _unquoted(text: str) -> str:
    if quoted := QUOTED.fullmatch(text):
        before_quotes = rf"\\+(?={quoted[1]}|\Z)"
        return re.sub(before_quotes, lambda found: "\\" * (len(found[0]) // 2), text[1:-1])
    if "\\" in text and text[0] not in "[{":
        return ESCAPED.sub(lambda found: found[1] or found[2], text)
    return text


def special(value: Any) -> Any:
    """A reported value, where it is the text of a number that JSON has not, as that number."""
    return SPECIAL.get(value, value) if isinstance(value, str) else value


def is_number(value: Any) -> bool:
    """Whether a value is a number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: Any) -> float | None:
    """A reported value as a finite number; None if it is none.

    >>> number(3), number("NaN"), number(True), number([1])
    (3.0, None, None, None)
    """
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def real(value: float) -> float:
    """A number as a float, however large it is.

    >>> real(-10**400)
    -inf
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def order(text: str | None) -> tuple[int, float, str]:
    """Sorts values as people do: numbers by size, then texts, then what is not there."""
    value = meant(text)
    if isinstance(value, int | float) and not math.isnan(size := real(value)):
        return 0, size, ""
    return (2, 0.0, "") if text is None else (1, 0.0, text)
