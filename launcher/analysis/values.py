"""The texts of overrides as what they mean: a point's keys, and its values as numbers, truth values or texts."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

DIGITS = r"\d+(_\d+)*"
NUMBER = re.compile(rf"[-+]?({DIGITS}(\.({DIGITS})?)?|\.{DIGITS})(e[-+]?\d+)?|[-+]?(inf|nan)", re.IGNORECASE)
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
    """What an override's value means: a number, a truth value, None, or a text (without its quotes). Lists and mappings
    stay as they are written.

    >>> [meant(text) for text in ("1_000", "1_", "1e-3", "true", "null", "'a b'", "[1,2]")]
    [1000, '1_', 0.001, True, None, 'a b', '[1,2]']
    """
    if text is None:
        return None
    if NUMBER.fullmatch(text):
        try:
            return int(text)
        except ValueError:
            return float(text)
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    return text


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


def order(text: str | None) -> tuple[int, float, str]:
    """Sorts values as people do: numbers by size, then texts, then what is not there."""
    value = meant(text)
    if isinstance(value, int) or (isinstance(value, float) and not math.isnan(value)):
        try:
            return 0, float(value), ""
        except OverflowError:
            return 0, math.inf if value > 0 else -math.inf, ""
    return (2, 0.0, "") if text is None else (1, 0.0, text)
