"""Conditions on a table's rows, as `--where` takes them: a column, a comparison, a value."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from launcher.analysis.values import is_number, meant, special
from launcher.errors import UsageError, suggest
from launcher.item import RunState
from launcher.words import shown

FORM = re.compile(r"(?P<column>[^=!<>]+)(?P<sign>!=|<=|>=|==|=|<|>)(?P<value>.*)", re.DOTALL)
"""Without a second way to read a text: a pattern that tries many would hold up everybody for the text of one."""

PIECE = re.compile(
    r"(?P<end>[,;])|(?P<open>[\[({])|(?P<close>[\])}])"
    r"|(?<!\w)(?:'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")|\\.|.",
    re.DOTALL,
)
"""A letter of several conditions in one text, or a quoted text whole."""

ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
EQUALITIES = ("=", "==", "!=")
MISTYPED = {"=>": ">=", "=<": "<=", "<>": "!="}
STATES = [state.value for state in RunState]


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a column with a value, which is text as it was written."""

    column: str
    sign: str
    value: str

    @staticmethod
    def parse(text: str) -> Condition:
        """The condition that a text says; UsageError for a text that is none, and for a state that there is not.

        >>> Condition.parse("optim.lr <= 1e-3")
        Condition(column='optim.lr', sign='<=', value='1e-3')
        """
        found = FORM.fullmatch(text)
        column = found["column"].strip().lstrip("+") if found else ""
        if not (found and column):
            raise UsageError(f"--where {text!r} is no condition; expected model=svm, seed!=3 or 'accuracy>=0.9'")
        sign = found["sign"]
        condition = Condition(column, sign, found["value"].strip())
        if condition.value.startswith(("<", ">")):
            mistyped = sign + condition.value[0]
            meaning = f"did you mean {MISTYPED[mistyped]!r}? " if mistyped in MISTYPED else ""
            raise UsageError(
                f"--where {text!r}: {mistyped!r} is no comparison; {meaning}a text that begins so is given in quotes"
            )
        if condition.column == "state" and sign in EQUALITIES and meant(condition.value) not in STATES:
            raise UsageError(f"--where {text!r}: {condition.value!r} is no state; {suggest(condition.value, STATES)}")
        return condition

    @staticmethod
    def parse_all(text: str) -> list[Condition]:
        """The conditions that a text says with commas or semicolons between, those in brackets and quotes being part of
        a value; UsageError where one is none.

        >>> [condition.value for condition in Condition.parse_all("layers=[1,2], name='a,b', lr<1")]
        ['[1,2]', "'a,b'", '1']
        """
        texts, depth = [""], 0
        for piece in PIECE.finditer(text):
            depth = max(0, depth + bool(piece["open"]) - bool(piece["close"]))
            if piece["end"] and not depth:
                texts.append("")
            else:
                texts[-1] += piece[0]
        return [Condition.parse(each) for each in texts if each.strip()]

    def holds(self, value: Any, *, written: bool) -> bool:
        """Whether it holds for a cell; `written`: the cell is text, as an override has it. What is not there equals
        nothing, and numbers are compared with numbers only.

        >>> Condition.parse("lr=0.1").holds("1e-1", written=True), Condition.parse("lr<1").holds(None, written=True)
        (True, False)
        """
        found, wanted = meant(value) if written else special(value), meant(self.value)
        if self.sign in EQUALITIES:
            same = value is not None and (_text(value) == self.value or _same(found, wanted))
            return same is (self.sign != "!=")
        if value is None:
            return False
        if is_number(found) and is_number(wanted):
            return bool(ORDERS[self.sign](found, wanted))
        if isinstance(found, str) and isinstance(wanted, str):
            return bool(ORDERS[self.sign](found, wanted))
        return False


def _text(value: Any) -> str | None:
    """A value's text where that says the whole value: numbers are shown short."""
    return None if is_number(value) else shown(value)


def _same(found: Any, wanted: Any) -> bool:
    """Equal, and of one kind: a number is neither a truth value nor a text. NaN is NaN here."""
    if is_number(found) and is_number(wanted):
        return bool(found == wanted) or {repr(found), repr(wanted)} == {"nan"}
    return type(found) is type(wanted) and bool(found == wanted)
