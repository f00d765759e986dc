"""A queue's template variables: their schemas, the values given for them, and the `resource_args` that come of both.
The dispatcher calls it for each spec, so what is queued is what was checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from launcher import schema, template
from launcher.errors import Problem, suggest
from launcher.item import QueueInfo

SECRET = "secret"  # noqa: S105 - the format's name
API_KEY = "_wandb_api_key"
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""What a secret variable's value looks like: the name of a variable in the environment of the agent."""


def queue_problems(queue: QueueInfo) -> Iterator[Problem]:
    """What is wrong with a queue's own settings: placeholders without a schema, defaults that their schema refuses."""
    for text, name in template.placeholders(queue.resource_args):
        if name is None:
            yield Problem("resource_args", f"{text!r} is no variable; expected {{{{name}}}}, in a value")
        elif name not in queue.variables:
            known = suggest(name, queue.variables)
            yield Problem("resource_args", f"{text!r} has no schema in variables; {known}")
    for name, definition in queue.variables.items():
        if reason := schema.definition_problem(definition):
            yield Problem(f"variables.{name}", f"cannot check anything: {reason}")
            continue
        if "default" not in definition:
            continue
        if definition.get("format") == SECRET:
            yield from _reference_problems(f"variables.{name}.default", definition["default"])
        else:
            yield from schema.value_problems(definition["default"], definition, ("variables", name, "default"))


def lay_arguments(
    document: dict[str, Any], queue: QueueInfo, texts: Mapping[str, str], *, renders: bool = True
) -> list[Problem]:
    """Give a spec its `resource_args`: the queue's, its variables filled, and over them, key by key, the spec's own.

    Takes `template_variables` out of the document, for they have done their work, and names the secrets it refers to;
    returns all problems with them. Unless `renders`, for a store that fills them in itself, they are only checked.
    """
    given = dict(document.pop("template_variables", None) or {})
    given.update((name, typed(text, queue.variables.get(name, {}))) for name, text in texts.items())
    own = document.get("resource_args") or {}
    values, problems = settle(queue, given)
    if own and not queue.allow_overrides:
        problems.append(
            Problem("resource_args", f"given, but queue {queue.name!r} allows none of its own; use template_variables")
        )
    key = document.get(API_KEY)
    problems.extend(_reference_problems(API_KEY, key) if key is not None else ())
    if problems:
        return problems
    if not renders:
        if given:
            document["template_variables"] = given
        return []
    names = {key[2:-1]} if key else set()
    if queue.resource_args and document.get("resource") == queue.resource:
        own = document["resource_args"] = laid_over(template.render(queue.resource_args, values), own)
        names |= secrets(queue, values)
    if names:
        document["secrets"] = sorted(names)
    return [
        Problem("resource_args", f"{text!r} is left in it; only a queue's variables, in its settings, are filled")
        for text, _ in template.placeholders(own)
    ]


def settle(queue: QueueInfo, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The values of a queue's variables, defaults filled in, and all problems with those that were given."""
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for name in given:
        if name not in queue.variables:
            known = suggest(name, queue.variables)
            problems.append(
                Problem(f"template_variables.{name}", f"queue {queue.name!r} has no such variable; {known}")
            )
    for name, definition in queue.variables.items():
        if name in given:
            value = values[name] = given[name]
            problems.extend(_value_problems(name, value, definition))
        elif "default" in definition:
            values[name] = definition["default"]
        else:
            problems.append(
                Problem(f"template_variables.{name}", f"missing; queue {queue.name!r} needs {_wanted(definition)}")
            )
    return values, problems


def secrets(queue: QueueInfo, values: Mapping[str, Any]) -> set[str]:
    """The names in the agent's environment that these values refer to as secrets."""
    return {values[name][2:-1] for name, definition in queue.variables.items() if definition.get("format") == SECRET}


def laid_over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `own` says, key by key; lists and values are replaced whole.

    >>> laid_over({"env": {"A": 1, "B": 2}, "gpus": 1}, {"env": {"B": 3}})
    {'env': {'A': 1, 'B': 3}, 'gpus': 1}
    """
    merged = dict(base)
    for key, value in own.items():
        below = merged.get(key)
        merged[key] = laid_over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _value_problems(name: str, value: Any, definition: Mapping[str, Any]) -> Iterator[Problem]:
    path = f"template_variables.{name}"
    if definition.get("format") == SECRET:
        yield from _reference_problems(path, value)
    else:
        yield from schema.value_problems(value, definition, ("template_variables", name))


def _reference_problems(path: str, value: Any) -> Iterator[Problem]:
    if not isinstance(value, str) or not REFERENCE.fullmatch(value):
        yield Problem(
            path,
            "is a secret, so its value cannot be queued; give the name of a variable of the agents, as ${HF_TOKEN}",
        )


def typed(text: str, definition: Mapping[str, Any]) -> Any:
    """The value that a command line's `text` says for a variable of this schema; the text itself if it is none.

    >>> typed("4", {"type": "integer"}), typed("true", {"type": "boolean"}), typed("4", {"type": "string"})
    (4, True, '4')
    """
    kind = definition.get("type")
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for wanted, convert in (("integer", int), ("number", float)):
        if kind == wanted:
            with suppress(ValueError):
                return convert(text)
    return text


def _wanted(definition: Mapping[str, Any]) -> str:
    if "enum" in definition:
        return f"one of {', '.join(map(str, definition['enum']))}"
    told = definition.get("description")
    return f"{schema.article(definition.get('type', 'value'))}{f' ({told})' if told else ''}"
