"""Sweep files: a saved grid, one YAML file (sweeps/*.yaml). Read here into a frozen value whose blocks hold Hydra's own
override strings; the command line composes them like any others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher import notices
from launcher.compose.grid import Block, Selection
from launcher.compose.rules import Rule
from launcher.errors import UsageError, suggest
from launcher.item import GOALS
from launcher.spec import POLICIES, checked_name, parse_priority, policies
from launcher.yaml_text import read_yaml

ORDERS = ("grid", "shuffle")
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
NOT_PLAIN = ("true", "false", "null", "nan", "inf")


@dataclass(frozen=True, slots=True)
class SweepFile:
    """A sweep file's content. `blocks` hold its grid, one that names none included."""

    name: str
    blocks: tuple[Block, ...] = (Block(),)
    selection: Selection = field(default_factory=Selection)
    config_dir: str | None = None
    config_name: str | None = None
    config_rev: str | None = None
    config_repo: str | None = None
    queue: str | None = None
    priority: int | None = None
    metric: str | None = None
    goal: str = "maximize"
    stop_after_failures: int | None = None
    notify: tuple[Mapping[str, Any], ...] = ()
    policies: Mapping[str, Any] = field(default_factory=dict)
    """retry, timeout and fingerprint, as launch specs have them; they are checked with these."""


def read_sweep_file(path: Path) -> SweepFile:
    """The sweep that a file describes; UsageError lists everything that is wrong with it.

    >>> read_sweep_file(Path("sweeps/digits.yaml")).name
    'digits'
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"no sweep file {path}; name an existing one, or give overrides as key=value") from error
    except OSError as error:
        raise UsageError(f"sweep file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"sweep file {path} is not YAML: {error}") from error
    content = read_yaml(text, f"sweep file {path}")
    if not isinstance(content, Mapping):
        raise UsageError(f"sweep file {path} holds {type(content).__name__}, expected fields: {', '.join(FIELDS)}")
    return parse_sweep(content, path.stem, f"sweep file {path}")


def parse_sweep(content: Mapping[Any, Any], name: str, where: str) -> SweepFile:
    """The sweep that a sweep file's fields describe, `name` if they name none. UsageError says `where` it is wrong."""
    problems = list(_problems(content, FIELDS))
    if problems:
        raise UsageError("\n".join(f"{where}: {problem}" for problem in problems))
    metric = content.get("metric") or {}
    metric = {"name": metric} if isinstance(metric, str) else metric
    priority, sample = content.get("priority"), content.get("sample") or {}
    return SweepFile(
        name=content.get("name") or name,
        blocks=tuple(_block(content, block) for block in content.get("blocks") or [{}]),
        selection=Selection(sample.get("n"), sample.get("seed", 0), content.get("order") == "shuffle"),
        config_dir=content.get("config_dir"),
        config_name=content.get("config_name"),
        config_rev=content.get("config_rev"),
        config_repo=content.get("config_repo"),
        queue=content.get("queue"),
        priority=None if priority is None else parse_priority(priority),
        metric=metric.get("name"),
        goal=metric.get("goal", "maximize"),
        stop_after_failures=content.get("stop_after_failures"),
        notify=notices.parsed(content.get("notify")),
        policies=policies(content),
    )


# -- what may be wrong with it --------------------------------------------------------------------------------------


def _problems(content: Mapping[Any, Any], fields: Mapping[str, Callable[[str, Any], Iterator[str]]]) -> Iterator[str]:
    for key, value in content.items():
        if key not in fields:
            yield f"field {key!r} is unknown; {suggest(str(key), fields)}"
        elif value is not None:
            yield from fields[key](key, value)


def _text(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{name} is {value!r}, expected a string"


def _sweep_name(name: str, value: Any) -> Iterator[str]:
    yield from _text(name, value)
    try:
        checked_name(str(value), "sweep")
    except UsageError as error:
        yield str(error)


def _override_strings(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        yield f"{name} is {value!r}, expected a list of override strings"


def _axes(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{name} is {value!r}, expected a mapping of keys to lists of values (or to Hydra's syntax)"
        return
    for key, values in value.items():
        if not isinstance(key, str):
            yield f"{name} key {key!r} is not a string; quote it"
        if values == []:
            yield f"{name}.{key} has no value, so the grid is empty; give it at least one"
        if isinstance(values, Mapping):
            yield f"{name}.{key} is {dict(values)!r}, expected a list of values, or Hydra's sweep syntax as text"
        elif isinstance(values, list) and any(isinstance(entry, Mapping | list) for entry in values):
            try:
                override_value(values)
            except UsageError as error:
                yield f"{name}.{key}: {error}"


def _zips(name: str, value: Any) -> Iterator[str]:
    for zipped in value if isinstance(value, list) else [value]:
        yield from _axes(name, zipped)


def _rules(name: str, value: Any) -> Iterator[str]:
    for text in _listed(value):
        if not isinstance(text, str):
            yield f"{name} is {text!r}, expected a condition such as: model.name == 'svm' and lr > 0.1"
            continue
        try:
            Rule.parse(name, text)
        except UsageError as error:
            yield str(error)


def _repeat(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping) or set(value) != {"key", "values"} or not isinstance(value["key"], str):
        yield f"{name} is {value!r}, expected {{key: seed, values: …}}"
    elif value["values"] == [] or (type(value["values"]) is int and value["values"] < 1):
        yield f"{name}.values is {value['values']!r}, so the grid is empty; give it at least one value"
    elif not isinstance(value["values"], list | int | str) or isinstance(value["values"], bool):
        yield f"{name}.values is {value['values']!r}, expected a list, a count, or Hydra's sweep syntax as text"


def _sample(name: str, value: Any) -> Iterator[str]:
    known = isinstance(value, Mapping) and "n" in value and set(value) <= {"n", "seed"}
    if not known or not all(type(entry) is int for entry in value.values()) or value["n"] < 1:
        yield f"{name} is {value!r}, expected {{n: how many points, at least 1, seed: a whole number}}"


def _order(name: str, value: Any) -> Iterator[str]:
    if value not in ORDERS:
        yield f"{name} is {value!r}, expected one of {', '.join(ORDERS)}"


def _count(name: str, value: Any) -> Iterator[str]:
    if type(value) is not int or value < 1:
        yield f"{name} is {value!r}, expected a whole number, at least 1"


def _mapping(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{name} is {value!r}, expected a mapping"


def _blocks(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not value or not all(isinstance(block, Mapping) for block in value):
        yield f"{name} is {value!r}, expected a list of mappings with the fields {', '.join(BLOCK_FIELDS)}"
        return
    for number, block in enumerate(value, 1):
        for problem in _problems(block, BLOCK_FIELDS):
            yield f"block {number}: {problem}"


def _priority(_: str, value: Any) -> Iterator[str]:
    try:
        parse_priority(value)
    except UsageError as error:
        yield str(error)


def _metric(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        return
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or set(value) - {"name", "goal"}:
        yield f"{name} is {value!r}, expected a name, or {{name: …, goal: maximize|minimize}}"
    elif value.get("goal", "maximize") not in GOALS:
        yield f"{name}.goal is {value['goal']!r}, expected one of {', '.join(GOALS)}"


BLOCK_FIELDS = {
    "overrides": _override_strings, "grid": _axes, "zip": _zips, "exclude": _rules, "require": _rules,
    "repeat": _repeat,
}  # fmt: skip
FIELDS = {
    "name": _sweep_name, "config_dir": _text, "config_name": _text, "config_rev": _text, "config_repo": _text,
    "metric": _metric, "queue": _text, "priority": _priority,
    **BLOCK_FIELDS, "blocks": _blocks, "sample": _sample, "order": _order, "stop_after_failures": _count,
    "notify": notices.problems,
    **dict.fromkeys(POLICIES, _mapping),
}  # fmt: skip
"""The fields of a sweep file and of its blocks, each with what finds its problems."""


# -- what it means --------------------------------------------------------------------------------------------------


def _block(shared: Mapping[str, Any], own: Mapping[str, Any]) -> Block:
    """A block: what the whole file shares, then its own; repeats vary fastest."""
    both = (shared, own) if own else (shared,)
    zips = [zipped for content in both for zipped in _listed(content.get("zip")) if zipped]
    repeats = [repeat for content in both if (repeat := content.get("repeat"))]
    overrides = [
        *(string for content in both for string in content.get("overrides") or ()),
        *(string for content in both for string in _strings(content.get("grid") or {})),
        *(string for zipped in zips for string in _strings(zipped)),
        *(string for repeat in repeats for string in _strings({repeat["key"]: _repeated(repeat["values"])})),
    ]
    rules = [
        Rule.parse(kind, text)
        for content in both
        for kind in ("exclude", "require")
        for text in _listed(content.get(kind))
    ]
    return Block(tuple(overrides), tuple(tuple(zipped) for zipped in zips), tuple(rules))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _repeated(values: Any) -> Any:
    return f"range({values})" if isinstance(values, int) else values


def _strings(axes: Mapping[str, Any]) -> Iterator[str]:
    for key, values in axes.items():
        if isinstance(values, list):
            yield f"{key}={','.join(map(override_value, values))}"
        elif isinstance(values, str):
            yield f"{key}={values}"
        else:
            yield f"{key}={override_value(values)}"


def override_value(value: Any) -> str:
    """A YAML value as Hydra's override grammar writes it.

    >>> override_value(["a b", None, {"k": True}])
    "['a b',null,{k:true}]"
    """
    from hydra.core.override_parser.types import Quote, QuotedString

    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{','.join(map(override_value, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_key(key)}:{override_value(entry)}" for key, entry in value.items())
        return "{" + ",".join(pairs) + "}"
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in NOT_PLAIN:
        return text
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def _key(key: Any) -> str:
    """A mapping's key as Hydra's grammar writes it, which has no quotes for keys; UsageError for one that it would read
    as another."""
    from hydra._internal.grammar.utils import escape_special_characters
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    text = escape_special_characters(key) if isinstance(key, str) else override_value(key)
    try:
        read: Any = OverridesParser.create().parse_override(f"key={{{text}:0}}").value()
    except (HydraException, ValueError):
        read = {}
    if repr(read) != repr({key: 0}):
        raise UsageError(
            f"{key!r} cannot be the key of a mapping in an override, for Hydra does not read it as the same; rename "
            "it, or hold the mappings in a config group, and sweep that"
        )
    return text
