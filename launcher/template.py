"""Placeholders, by pure substitution: `{{variables}}` of a queue, which the dispatcher fills, `${macros}` that the
agent fills in `resource_args` and the command, and `${overrides}`. Nothing is evaluated, and nothing filled twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher.errors import LaunchError

MACROS = ("project_name", "entity_name", "run_id", "run_name", "image_uri", "author")
FILE_MACROS = ("config_file", "run_dir")
ARGUMENT_MACROS = ("overrides", *FILE_MACROS)

OVERRIDES = "${overrides}"

MACRO = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_-]*)\s*\}\}")
BRACES = re.compile(r"\{\{.*?\}\}", re.DOTALL)


def render(value: Any, variables: Mapping[str, Any]) -> Any:
    """`value` with its `{{variables}}` filled: a text that is wholly one becomes its value, of its type; inside longer
    text it is inserted as text (true, false and null as JSON writes them). Raises KeyError for a name without a value.

    >>> render({"gpus": "{{n}}", "name": "run-{{n}}", "fast": "{{fast}}"}, {"n": 2, "fast": True})
    {'gpus': 2, 'name': 'run-2', 'fast': True}
    """
    if isinstance(value, str):
        if whole := VARIABLE.fullmatch(value):
            return variables[whole[1]]
        return VARIABLE.sub(lambda match: _as_text(variables[match[1]]), value)
    if isinstance(value, Mapping):
        return {key: render(entry, variables) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [render(entry, variables) for entry in value]
    return value


def placeholders(value: Any) -> Iterator[tuple[str, str | None]]:
    """Every `{{…}}` in `value`, with the variable it names; None for what is between braces but no name."""
    if isinstance(value, str):
        for match in BRACES.finditer(value):
            named = VARIABLE.fullmatch(match[0])
            yield match[0], named[1] if named else None
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from ((text, None) for text, _ in placeholders(key))  # keys are not filled
            yield from placeholders(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from placeholders(entry)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def fill(value: Any, macros: Mapping[str, str | None], environ: Mapping[str, str]) -> Any:
    """`value` with the macros in all its strings filled: `macros` first, then `environ`; unknown ones stay.

    Raises LaunchError for a macro that has no value in this run.

    >>> fill({"name": "${run_id}-${HOME}-${other}"}, {"run_id": "k3"}, {"HOME": "/root"})
    {'name': 'k3-/root-${other}'}
    """
    if isinstance(value, str):
        return MACRO.sub(lambda match: _replacement(match, macros, environ), value)
    if isinstance(value, Mapping):
        return {key: fill(entry, macros, environ) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [fill(entry, macros, environ) for entry in value]
    return value


def _replacement(match: re.Match[str], macros: Mapping[str, str | None], environ: Mapping[str, str]) -> str:
    name = match[1]
    if name in macros:
        value = macros[name]
        if value is None:
            raise LaunchError(f"${{{name}}} has no value in this run; remove it or give the run one")
        return value
    return environ.get(name, match[0])


def expand_arguments(args: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The command's arguments with `${overrides}` filled: alone it becomes one argument an override, inside longer
    text the overrides joined by spaces.

    >>> expand_arguments(["--fast", "${overrides}"], ["lr=0.1", "seed=1"])
    ['--fast', 'lr=0.1', 'seed=1']
    """
    expanded: list[str] = []
    for argument in args:
        if argument == OVERRIDES:
            expanded.extend(overrides)
        else:
            expanded.append(argument.replace(OVERRIDES, " ".join(overrides)))
    return expanded
