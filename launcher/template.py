"""Placeholders, by pure substitution: `${macros}` that the agent fills in `resource_args` and in the arguments of the
command, and `${overrides}`, which the dispatcher fills. Nothing is ever evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.errors import LaunchError

MACROS = ("project_name", "entity_name", "run_id", "run_name", "image_uri", "author")
ARGUMENT_MACROS = ("overrides", "config_file", "run_dir")

MACRO = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


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
        if argument == "${overrides}":
            expanded.extend(overrides)
        else:
            expanded.append(argument.replace("${overrides}", " ".join(overrides)))
    return expanded
