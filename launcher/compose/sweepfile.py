"""Sweep files: a saved grid, one YAML file (sweeps/*.yaml). Read here into a frozen value whose overrides are Hydra's;
the command line composes them like any others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import UsageError, suggest
from launcher.spec import parse_priority

FIELDS = ("name", "config_dir", "config_name", "metric", "overrides", "grid", "queue", "priority")
GOALS = ("maximize", "minimize")
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
NOT_PLAIN = ("true", "false", "null", "nan", "inf")


@dataclass(frozen=True, slots=True)
class SweepFile:
    """A sweep file's content; `overrides` holds the fixed overrides, then one string an axis of the grid."""

    name: str
    overrides: tuple[str, ...] = ()
    config_dir: str | None = None
    config_name: str | None = None
    queue: str | None = None
    priority: int | None = None
    metric: str | None = None
    goal: str = "maximize"


def read_sweep_file(path: Path) -> SweepFile:
    """The sweep that a file describes; UsageError lists everything that is wrong with it.

    >>> read_sweep_file(Path("sweeps/digits.yaml")).name
    'digits'
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"no sweep file {path}; name an existing one, or give overrides as key=value") from error
    except OSError as error:
        raise UsageError(f"sweep file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"sweep file {path} is not YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise UsageError(f"sweep file {path} holds {type(content).__name__}, expected fields: {', '.join(FIELDS)}")
    problems = list(_problems(content))
    if problems:
        raise UsageError("\n".join(f"sweep file {path}: {problem}" for problem in problems))
    metric = content.get("metric") or {}
    metric = {"name": metric} if isinstance(metric, str) else metric
    priority = content.get("priority")
    return SweepFile(
        name=content.get("name") or path.stem,
        overrides=(*content.get("overrides", ()), *_axes(content.get("grid") or {})),
        config_dir=content.get("config_dir"),
        config_name=content.get("config_name"),
        queue=content.get("queue"),
        priority=None if priority is None else parse_priority(priority),
        metric=metric.get("name"),
        goal=metric.get("goal", "maximize"),
    )


def _problems(content: Mapping[Any, Any]) -> Iterator[str]:
    for key in content:
        if key not in FIELDS:
            yield f"field {key!r} is unknown; {suggest(str(key), FIELDS)}"
    for key in ("name", "config_dir", "config_name", "queue"):
        value = content.get(key)
        if value is not None and not isinstance(value, str):
            yield f"{key} is {value!r}, expected a string"
    if not _strings(content.get("overrides", [])):
        yield f"overrides is {content['overrides']!r}, expected a list of override strings"
    if content.get("priority") is not None:
        try:
            parse_priority(content["priority"])
        except UsageError as error:
            yield str(error)
    yield from _metric_problems(content.get("metric"))
    yield from _grid_problems(content.get("grid"))


def _metric_problems(metric: Any) -> Iterator[str]:
    if metric is None or isinstance(metric, str):
        return
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str) or set(metric) - {"name", "goal"}:
        yield f"metric is {metric!r}, expected a name, or {{name: …, goal: maximize|minimize}}"
    elif metric.get("goal", "maximize") not in GOALS:
        yield f"metric.goal is {metric['goal']!r}, expected one of {', '.join(GOALS)}"


def _grid_problems(grid: Any) -> Iterator[str]:
    if grid is None:
        return
    if not isinstance(grid, Mapping):
        yield f"grid is {grid!r}, expected a mapping of keys to lists of values (or to Hydra's sweep syntax)"
        return
    for key, values in grid.items():
        if not isinstance(key, str):
            yield f"grid key {key!r} is not a string; quote it"
        if values == []:
            yield f"grid.{key} has no value, so the grid is empty; give it at least one"
        if isinstance(values, Mapping):
            yield f"grid.{key} is {dict(values)!r}, expected a list of values, or Hydra's sweep syntax as text"


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _axes(grid: Mapping[str, Any]) -> Iterator[str]:
    for key, values in grid.items():
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
    from hydra._internal.grammar.utils import escape_special_characters
    from hydra.core.override_parser.types import Quote, QuotedString

    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{','.join(map(override_value, value))}]"
    if isinstance(value, dict):
        pairs = (f"{escape_special_characters(str(key))}:{override_value(entry)}" for key, entry in value.items())
        return "{" + ",".join(pairs) + "}"
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in NOT_PLAIN:
        return text
    return QuotedString(text=text, quote=Quote.single).with_quotes()
