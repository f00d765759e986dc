"""The rules of a grid, `exclude` and `require`: small conditions over a composed config, such as
`model.name == 'svm' and lr > 0.1`. They are parsed as Python expressions, of which only comparisons, `in`, `and`, `or`,
`not` and dotted keys are accepted, and compiled to closures; nothing is ever evaluated as code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.errors import ComposeError, UsageError, suggest

Config = Mapping[str, Any]
Test = Callable[[Config], Any]

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b, ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}  # fmt: skip
CONSTANTS = {"null": None, "true": True, "false": False}
ACCEPTED = "dotted keys, numbers, quoted texts, lists, ==, !=, <, <=, >, >=, in, and, or, not"
LONGEST = 2000
"""Characters. Longer conditions could nest deeper than Python's parser and the closures can follow."""


class _KeyMissingError(Exception):
    """A dotted key that this point's config does not have."""


class _OtherFormError(Exception):
    """A part of an expression that rules do not have."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`exclude` drops the points for which its condition is true, `require` those for which it is false.

    >>> Rule.parse("exclude", "model.name == 'svm' and lr > 0.1").keeps({"model": {"name": "svm"}, "lr": 1.0}, ())
    False
    """

    kind: str
    text: str
    keys: tuple[str, ...]
    _test: Test = field(repr=False, compare=False)

    @staticmethod
    def parse(kind: str, text: str) -> Rule:
        """The rule that `text` states. Raises UsageError for anything but a condition over dotted keys."""
        reason = f"it has more than {LONGEST} characters"
        if len(text) <= LONGEST:
            keys: list[str] = []
            try:
                test = _compiled(ast.parse(text.strip(), mode="eval").body, keys)
                return Rule(kind, text, tuple(keys), test)
            except SyntaxError as error:
                reason = error.msg
            except (_OtherFormError, ValueError) as error:
                reason = str(error)
            except (RecursionError, MemoryError):
                reason = "it is nested too deeply"
        raise UsageError(f"{kind} {text[:LONGEST]!r} is no condition: {reason}; expected {ACCEPTED}")

    def keeps(self, config: Config, deferred: Sequence[str]) -> bool:
        """Whether the point with this config stays. Raises ComposeError where that cannot be told."""
        if deferred and (unknown := [key for key in self.keys if _touches(key, deferred)]):
            raise ComposeError(f"{self} reads {', '.join(unknown)}, which only the running app can resolve")
        try:
            return bool(self._test(config)) is (self.kind == "require")
        except _KeyMissingError as error:
            raise ComposeError(f"{self}: {error}") from error
        except TypeError as error:
            raise ComposeError(f"{self}: {error}") from error

    def __str__(self) -> str:
        return f"{self.kind} {self.text!r}"


def _compiled(node: ast.expr, keys: list[str]) -> Test:  # noqa: PLR0911 - one return a form
    match node:
        case ast.BoolOp(op, values):
            tests = [_compiled(value, keys) for value in values]
            every = isinstance(op, ast.And)
            return lambda config: (all if every else any)(test(config) for test in tests)
        case ast.UnaryOp(ast.Not(), operand):
            test = _compiled(operand, keys)
            return lambda config: not test(config)
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)):
            return lambda _: -number
        case ast.Compare(left, ops, comparators):
            return _comparison([_compiled(side, keys) for side in (left, *comparators)], ops)
        case ast.Constant(value) if value is None or isinstance(value, str | int | float):
            return lambda _: value
        case ast.List(elements) | ast.Tuple(elements):
            tests = [_compiled(element, keys) for element in elements]
            return lambda config: [test(config) for test in tests]
        case ast.Name(name) if name in CONSTANTS:
            return lambda _: CONSTANTS[name]
        case ast.Name() | ast.Attribute() | ast.Subscript():
            return _lookup(_path(node), keys)
    raise _OtherFormError(f"{ast.unparse(node)!r} is not accepted")


def _comparison(sides: Sequence[Test], ops: Sequence[ast.cmpop]) -> Test:
    """`a < b < c`, as Python reads it."""
    steps = [(COMPARISONS[type(op)], right) for op, right in zip(ops, sides[1:], strict=True)]

    def test(config: Config) -> bool:
        left = sides[0](config)
        for compare, side in steps:
            right = side(config)
            if not compare(left, right):
                return False
            left = right
        return True

    return test


def _path(node: ast.expr) -> tuple[str | int, ...]:
    match node:
        case ast.Name(name):
            return (name,)
        case ast.Attribute(parent, name):
            return (*_path(parent), name)
        case ast.Subscript(parent, ast.Constant(str() | int() as key)):
            return (*_path(parent), key)
    raise _OtherFormError(f"{ast.unparse(node)!r} is no dotted key")


def _lookup(path: Sequence[str | int], keys: list[str]) -> Test:
    dotted = ".".join(map(str, path))
    keys.append(dotted)

    def value(config: Config) -> Any:
        found: Any = config
        for key in path:
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError):
                known = list(found) if isinstance(found, Mapping) else []
                raise _KeyMissingError(
                    f"no key {dotted!r} ({suggest(str(key), known)}); where a key may be absent, ask for it first: "
                    f"{str(key)!r} in {'.'.join(map(str, path[:-1])) or 'its parent'} and …"
                ) from None
        return found

    return value


def _touches(key: str, deferred: Sequence[str]) -> bool:
    return any(key == leaf or leaf.startswith(f"{key}.") or key.startswith(f"{leaf}.") for leaf in deferred)
