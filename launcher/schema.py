"""A document against its JSON Schema: all its problems, each with its path, its value and what was expected. The
dispatcher calls it for every spec; the Rust validator gives the quick yes, the Python one explains a no."""

from __future__ import annotations

import json
import marshal
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import canonical
from launcher.errors import Problem, suggest
from launcher.template import placeholders

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema_rs import Draft202012Validator as RustValidator

FOLDER = Path(__file__).parent / "schemas"
LONGEST_SHOWN = 80
NOT_FINITE = re.compile(rb"g.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)
"""A float's eight bytes as marshal writes them, all exponent bits set; text may look like it, numbers cannot."""
ALWAYS_JSON = frozenset({type(None), bool, int})


def problems(
    document: Any, schema: str = "launch_spec", path: tuple[str | int, ...] = (), *, filled: bool = True
) -> list[Problem]:
    """Everything that is wrong with `document`, in the order of its keys; empty when it is right.

    `schema` names a file of `launcher/schemas/`; `path` is where the document lies within a larger one. Unless it is
    `filled`, a value that holds a queue's `{{variables}}` may become anything, and is not looked at.

    >>> overrides = {"entry_point": [3]}
    >>> spec = {"entity": "", "project": "", "docker": {}, "git": {}, "overrides": overrides, "resource": None}
    >>> print(problems(spec)[0])
    overrides.entry_point[0]: 3 is an integer, expected a string
    """
    found: list[Problem] = []
    if not _surely_json(document):
        _not_json(document, path, found)
    if found:
        return found  # a validator's verdict on what is not JSON means nothing
    if _fast(schema).is_valid(document):
        return []
    return _explained(_slow(schema), document, path, f"does not match {schema}.json", filled=filled)


def value_problems(value: Any, definition: Mapping[str, Any], path: tuple[str | int, ...]) -> list[Problem]:
    """What is wrong with the `value` at `path` by a schema that is not of this package, such as a queue's variable's.

    >>> print(*value_problems(9, {"type": "integer", "maximum": 8}, ("gpus",)))
    gpus: 9 is greater than the maximum of 8
    """
    found: list[Problem] = []
    _not_json(value, path, found)
    if found:
        return found
    text = canonical.encode(definition)
    if _fast_by_text(text).is_valid(value):
        return []
    return _explained(_slow_by_text(text), value, path, "does not match its schema")


def definition_problem(definition: Mapping[str, Any]) -> str | None:
    """Why a schema can check nothing (a pattern that is no regular expression, say); None when it can."""
    try:
        _fast_by_text(canonical.encode(definition))
        re.compile(str(definition.get("pattern", "")))
    except (ValueError, re.error) as error:
        return str(error).splitlines()[0]
    return None


def _explained(
    validator: Any, value: Any, path: tuple[str | int, ...], otherwise: str, *, filled: bool = True
) -> list[Problem]:
    errors = sorted(validator.iter_errors(value), key=_place)
    if not errors:
        return [Problem(dotted(path), f"{_show(value)} {otherwise}")]
    return list(dict.fromkeys(_explain(error, path) for error in errors if filled or not _open(error)))


def _open(error: ValidationError) -> bool:
    """Whether the value that is wrong may be another when its `{{variables}}` are filled."""
    values = not isinstance(error.instance, dict) or error.validator == "anyOf"
    return values and any(placeholders(error.instance))


def _surely_json(document: Any) -> bool:
    """A quick yes, in C alone; False means that `_not_json` must look. orjson refuses keys that are no strings, half
    surrogate pairs and most types, marshal the rest (an enum's member, a UUID). orjson writes NaN as null; marshal
    writes its eight bytes."""
    try:
        text = canonical.quick(document)
        packed = marshal.dumps(document, 2)  # later formats write equal values once
    except (TypeError, ValueError, RecursionError):
        return False
    return b"\\u0000" not in text and not (b"null" in text and NOT_FINITE.search(packed))


def _not_json(value: Any, path: tuple[str | int, ...], found: list[Problem]) -> None:
    """Add what in `value` JSON cannot say: NaN and infinity, keys that are not strings, NUL in text, other types."""
    if isinstance(value, str):
        if fault := _fault(value):
            found.append(Problem(dotted(path), f"{_show(value)} holds {fault}"))
    elif isinstance(value, float):
        if not math.isfinite(value):
            found.append(Problem(dotted(path), f"{value} is not a JSON number; expected a finite one"))
    elif isinstance(value, dict | list | tuple):
        _not_json_within(value, path, found)
    elif not (value is None or isinstance(value, bool | int)):
        found.append(Problem(dotted(path), f"{_show(value)} is {_kind(value)}, expected a JSON value"))


def _not_json_within(value: Any, path: tuple[str | int, ...], found: list[Problem]) -> None:
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict) and not isinstance(key, str):
            problem = f"key {key!r} is {_kind(key)}; JSON keys are strings"
            found.append(Problem(dotted((*path, str(key))), problem))
            continue
        kind = type(entry)  # most leaves are right, and a call for each would double the time
        if not (kind in ALWAYS_JSON or (kind is float and math.isfinite(entry))):
            _not_json(entry, (*path, key), found)


def _fault(text: str) -> str | None:
    """What keeps a text from being stored and given to a program."""
    if "\0" in text:
        return "a NUL character, which no command line can carry"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "half a surrogate pair, which is no text"
    return None


def dotted(path: Sequence[str | int]) -> str:
    """A path as people write it.

    >>> dotted(["overrides", "args", 2])
    'overrides.args[2]'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "(the whole document)"


@cache
def _load(schema: str) -> Any:
    return json.loads((FOLDER / f"{schema}.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=256)
def _fast_by_text(definition: str) -> RustValidator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(json.loads(definition))


@lru_cache(maxsize=256)
def _slow_by_text(definition: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(definition))


@cache
def _fast(schema: str) -> RustValidator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(_load(schema))


@cache
def _slow(schema: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(_load(schema))


def _place(error: ValidationError) -> list[tuple[int, str]]:
    """Sorts keys by name, list items by number."""
    return [(part, "") if isinstance(part, int) else (-1, str(part)) for part in error.absolute_path]


def _explain(error: ValidationError, below: tuple[str | int, ...]) -> Problem:
    value: Any = error.instance
    expected: Any = error.validator_value
    told = error.schema.get("description") if isinstance(error.schema, dict) else None
    cause = ""
    match error.validator:
        case "type":
            names = [expected] if isinstance(expected, str) else list(expected)
            cause = f"expected {' or '.join(article(name) for name in names)}"
            message = f"{_show(value)} is {_kind(value)}, {cause}"
        case "enum" | "const":
            known = expected if error.validator == "enum" else [expected]
            cause = f"expected {told or 'one of ' + ', '.join(map(str, known))}"
            message = f"{_show(value)} is unknown; {cause}"
        case "required":
            missing = [name for name in expected if name not in value]
            message = cause = f"{' and '.join(missing)} missing"
        case "additionalProperties" if expected is False:
            fields = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
            unknown = sorted(set(value) - set(fields))
            message = f"{', '.join(map(repr, unknown))} unknown; {suggest(str(unknown[0]), fields)}"
        case "maxLength" | "minLength":
            cause = f"expected at {'most' if error.validator == 'maxLength' else 'least'} {expected}"
            message = f"{_show(value)} has {len(value)} characters, {cause}"
        case "pattern" | "anyOf" if told:
            cause = f"expected {told}"
            message = f"{_show(value)} is not {told}"
        case "pattern":
            cause = f"expected a text that matches {expected!r}"
            message = f"{_show(value)} does not match {expected!r}"
        case _:
            message = error.message
            cause = f"{error.validator} {_show(expected)}"
    return Problem(dotted([*below, *error.absolute_path]), message, cause)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _kind(value: Any) -> str:
    names: dict[type, str] = {
        type(None): "null", bool: "a boolean", int: "an integer", float: "a number", str: "a string",
        dict: "an object", list: "a list",
    }  # fmt: skip
    return names.get(type(value), f"a {type(value).__name__}")


def article(name: str) -> str:
    """The name of a JSON type as a sentence has it: "an integer"."""
    readable = {"null": "null", "array": "a list", "object": "an object", "integer": "an integer"}
    return readable.get(name, f"a {name}")
