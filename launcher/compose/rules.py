"""The rules of a grid, `exclude` and `require`: small conditions over a composed config, such as
`model.name == 'svm' and lr > 0.1`. They are parsed as Python expressions, of which only comparisons, `in`, `and`, `or`,
`not` and dotted keys are accepted, and compiled to closures; nothing is ever evaluated as code."""

from __future__ import annotations

import ast
import itertools
import keyword
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any

from launcher.compose.saying import text_of
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
WHOLE = ("config", "cfg", "root", "_root_")
"""What people call the config as a whole, which needs no name."""

DOTTED_KEYWORD = re.compile(rf"([A-Za-z_][\w.]*)\.({'|'.join(keyword.kwlist)})\b")
LONGEST = 2000
"""Characters. Longer conditions could nest deeper than Python's parser and the closures can follow."""


class _KeyMissingError(Exception):
    """A dotted key that this point's config does not have."""


class _NoValueError(Exception):
    """A key that has keys below it, where a value is compared."""


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
                reason = _quoting(text) or error.msg
            except (_OtherFormError, ValueError) as error:
                reason = str(error)
            except (RecursionError, MemoryError):
                reason = "it is nested too deeply"
        raise UsageError(f"{kind} {text[:LONGEST]!r} is no condition: {reason}; expected {ACCEPTED}")

    def keeps(self, config: Config, deferred: Sequence[str]) -> bool:
        """Whether the point with this config stays. Raises ComposeError where that cannot be told."""
        unknown = [key for key in self.keys if _touches(key, deferred)] if deferred else []
        try:
            holds = bool(self._test(config))
        except (_KeyMissingError, _NoValueError, TypeError) as error:
            if not unknown or isinstance(error, _NoValueError):  # a mapping is no value, whatever is in it
                raise ComposeError(f"{self}: {error}") from error
        if unknown:
            raise ComposeError(f"{self} reads {', '.join(unknown)}, which only the running app can resolve")
        return holds is (self.kind == "require")

    def __str__(self) -> str:
        return f"{self.kind} {self.text!r}"


def _quoting(text: str) -> str:
    """How to write a key that is a word of Python's; empty where none is."""
    found = DOTTED_KEYWORD.search(text)
    return f"{found[2]!r} is a word of Python's; write {found[1]}[{found[2]!r}]" if found else ""


def _compiled(node: ast.expr, keys: list[str]) -> Test:  # noqa: PLR0911 - one return a form
    match node:
        case ast.BoolOp(op, values):
            tests = [_compiled(value, keys) for value in values]
            return _first(tests, enough=isinstance(op, ast.Or))
        case ast.UnaryOp(ast.Not(), operand):
            test = _compiled(operand, keys)
            return lambda config: not test(config)
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)):
            return lambda _: -number
        case ast.Compare(left, ops, comparators):
            return _comparison([left, *comparators], ops, keys)
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


def _first(tests: Sequence[Test], *, enough: bool) -> Test:
    """`a or b` (and `a and b`), as Python reads it: the first value that is true (false), else the last one."""

    def test(config: Config) -> Any:
        value = None
        for each in tests:
            value = each(config)
            if bool(value) is enough:
                break
        return value

    return test


def _comparison(nodes: Sequence[ast.expr], ops: Sequence[ast.cmpop], keys: list[str]) -> Test:
    """`a < b < c`, as Python reads it, but that a mapping is no value: `model == 'svm'` would never hold."""
    for op, pair in zip(ops, itertools.pairwise(nodes), strict=True):
        if isinstance(op, ast.Is | ast.IsNot) and not any(map(_is_single, pair)):
            left, right = map(ast.unparse, pair)
            sign, word = ("==", "is") if isinstance(op, ast.Is) else ("!=", "is not")
            raise _OtherFormError(f"{word!r} is for null, true and false only; write {left} {sign} {right}")
    first, *sides = [_compiled(node, keys) for node in nodes]
    steps = list(zip([COMPARISONS[type(op)] for op in ops], ops, sides, itertools.pairwise(nodes), strict=True))

    def test(config: Config) -> bool:
        left = first(config)
        for compare, op, side, (left_node, right_node) in steps:
            right = side(config)
            if type(left) is dict:
                _refuse_mapping(left_node, left, right)
            elif type(right) is dict and not isinstance(op, ast.In | ast.NotIn):
                _refuse_mapping(right_node, right, left)
            if not compare(left, right):
                return False
            left = right
        return True

    return test


def _is_single(node: ast.expr) -> bool:
    """Whether it is null, true or false, of which there is one each."""
    match node:
        case ast.Name(name):
            return name in CONSTANTS
        case ast.Constant(value):
            return value is None or isinstance(value, bool)
    return False


def _refuse_mapping(node: ast.expr, value: Mapping[str, Any], other: Any) -> None:
    if other is None or type(other) is dict:
        return
    name = ast.unparse(node)
    below = ", ".join(_written([name, key]) for key in value) or "none"
    raise _NoValueError(f"{name} is a mapping and no value; name a key of it: {below}")


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
        for depth, key in enumerate(path):
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError):
                known = list(found) if isinstance(found, Mapping) else []
                told = _ask(path, depth, known) if depth else _misnamed(path, config, known)
                raise _KeyMissingError(f"no key {dotted!r} {told}") from None
        return text_of(found) if isinstance(found, Enum | PurePath) else found  # as the run_config has it

    return value


def _ask(path: Sequence[str | int], depth: int, known: Sequence[str]) -> str:
    parent = _written(path[:depth])
    return (
        f"({suggest(str(path[depth]), known)}); where a key may be absent, ask for it first: "
        f"{str(path[depth])!r} in {parent} and …"
    )


def _misnamed(path: Sequence[str | int], config: Config, known: Sequence[str]) -> str:
    """What may be meant by a path whose first key the config does not have."""
    if path[0] in WHOLE:
        told = f"as {_written(path[1:])}" if path[1:] else f"known: {', '.join(sorted(known))}"
        return f"at the root; the config as a whole has no name, its keys are named alone, {told}"
    if below := [_written([*above, *path]) for above in _above(path, config, ())]:
        return f"at the root; did you mean {' or '.join(below)}?"
    return f"({suggest(str(path[0]), known)}); a condition needs the keys at the root in every point"


def _above(path: Sequence[str | int], config: Mapping[Any, Any], at: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where below the root the whole `path` is."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            if _holds(value, path):
                yield (*at, str(key))
            yield from _above(path, value, (*at, str(key)))


def _holds(config: Any, path: Sequence[str | int]) -> bool:
    for key in path:
        if not isinstance(config, Mapping) or key not in config:
            return False
        config = config[key]
    return True


def _written(path: Sequence[str | int]) -> str:
    """A path as conditions write it.

    >>> _written(["loss", "lambda", 0, "weight"])
    "loss['lambda'][0].weight"
    """
    text = ""
    for key in path:
        plain = isinstance(key, str) and (not text or (key.isidentifier() and not keyword.iskeyword(key)))
        text += f"{'.' if text else ''}{key}" if plain else f"[{key!r}]"
    return text


def _touches(key: str, deferred: Sequence[str]) -> bool:
    return any(key == leaf or leaf.startswith(f"{key}.") or key.startswith(f"{leaf}.") for leaf in deferred)
