"""Whom a sweep notifies of what: the `notify` of sweep files as values, which events have come, and what is told of
them. Pure; stores keep what was told already, agents tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from launcher import canonical
from launcher.item import RunState

FIRST_FAILURE, END = "first_failure", "end"
EVENTS = (FIRST_FAILURE, END)
SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")
FIELDS = ("command", "webhook", "secret", "on")

TRIES = 8
"""So often a notice is tried to be told."""

LONGEST_SECONDS = 3600.0
OPEN = (RunState.PENDING, RunState.LEASED, RunState.RUNNING)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told once: an `event` of a `sweep`, to a `target` (a command or a webhook, as it was given), with
    the sweep's `counts` when it came. `tries` counts this one."""

    sweep: str
    target: Mapping[str, Any]
    event: str
    counts: Mapping[str, int]
    tries: int

    @property
    def id(self) -> str:
        """The same for each try, so that a receiver that hears of it twice knows."""
        return canonical.digest([self.sweep, self.target, self.event])

    def text(self) -> str:
        """What people read.

        >>> Notice("digits", {}, "end", {"finished": 25, "failed": 2}, 1).text()
        'sweep digits has ended: 25 finished, 2 failed'
        """
        told = ", ".join(f"{number} {state}" for state, number in self.counts.items() if number)
        what = {FIRST_FAILURE: "has its first failure", END: "has ended"}.get(self.event, f"has {self.event} failed")
        return f"sweep {self.sweep} {what}: {told}"

    def body(self) -> dict[str, Any]:
        """What programs read."""
        return {
            "id": self.id, "event": self.event, "sweep": self.sweep, "text": self.text(), "counts": dict(self.counts)
        }  # fmt: skip


def problems(name: str, value: Any) -> Iterator[str]:
    """What is wrong with a `notify`.

    >>> list(problems("notify", {"command": "mail", "on": ["finish"]}))[0]
    "notify.command is 'mail', expected a list: the program, then its arguments"
    """
    if not isinstance(value, list | tuple):
        yield from _problems(name, value)
        return
    for number, entry in enumerate(value):
        yield from _problems(f"{name}[{number}]", entry)


def _problems(name: str, given: Any) -> Iterator[str]:
    value = _worded(given)
    if not isinstance(value, Mapping) or ("command" in value) is ("webhook" in value) or set(value) - set(FIELDS):
        yield f"{name} is {given!r}, expected {{command: [program, …]}} or {{webhook: https://…}}, with on and secret"
        return
    command, webhook, secret = (value.get(field) for field in ("command", "webhook", "secret"))
    if "command" in value and not (
        isinstance(command, list | tuple) and command and all(isinstance(word, str) for word in command)
    ):
        yield f"{name}.command is {command!r}, expected a list: the program, then its arguments"
    if "webhook" in value and not (isinstance(webhook, str) and _is_address(webhook)):
        yield f"{name}.webhook is {webhook!r}, expected an address: https://…"
    if "secret" in value and ("command" in value or not isinstance(secret, str) or not secret.isidentifier()):
        yield f"{name}.secret is {secret!r}, expected the name of a variable in the agents' environment, for a webhook"
    for event in _listed(value.get("on")):
        share = SHARE.fullmatch(event) if isinstance(event, str) else None
        if event not in EVENTS and not (share and 0 < float(share[1]) <= 100):
            yield f"{name}.on is {event!r}, expected {FIRST_FAILURE}, {END}, or a share that failed, as '10%'"


def parsed(value: Any) -> tuple[dict[str, Any], ...]:
    """A `notify` without problems as a list of targets, each with all its fields.

    >>> parsed({"command": ["notify-send"], "on": "10 %"})
    ({'command': ['notify-send'], 'on': ['10%']},)
    """
    found = []
    for entry in map(_worded, _listed(value)):
        target = {
            field: list(entry[field]) if field == "command" else entry[field] for field in FIELDS[:3] if field in entry
        }
        events = [event.replace(" ", "") for event in _listed(entry.get("on"))] or EVENTS
        found.append({**target, "on": list(dict.fromkeys(events))})
    return tuple(found)


def shown(target: Mapping[str, Any]) -> dict[str, Any]:
    """A target as everybody may see it: whoever knows the whole address of a webhook may often write there.

    >>> shown({"webhook": "https://hooks.example/T0/secret", "on": ["end"]})
    {'webhook': 'https://hooks.example/…', 'on': ['end']}
    """
    if "webhook" not in target:
        return dict(target)
    return {**target, "webhook": f"{place(target['webhook'])}/…"}


def place(webhook: str) -> str:
    """The server of a webhook, without what only its sender should know.

    >>> place("https://ann:secret@hooks.example:8443/T0/secret")
    'https://hooks.example:8443'
    """
    try:
        address = urlsplit(webhook)
        return f"{address.scheme}://{address.hostname}" + (f":{address.port}" if address.port else "")
    except ValueError:  # an earlier version took it
        return "an address that is none"


def due(notify: Sequence[Mapping[str, Any]], counts: Mapping[RunState, int]) -> Iterator[tuple[dict[str, Any], str]]:
    """The targets, without their `on`, and events that have come for them, with so many items in each state.

    >>> notify = parsed({"command": ["a"], "on": ["first_failure", "50%", "end"]})
    >>> list(due(notify, {RunState.FAILED: 1, RunState.PENDING: 2}))
    [({'command': ['a']}, 'first_failure')]
    """
    failed, total = counts.get(RunState.FAILED, 0), sum(counts.values())
    over = total > 0 and not any(counts.get(state, 0) for state in OPEN)
    for entry in notify:
        target = {field: value for field, value in entry.items() if field != "on"}
        for event in entry["on"]:
            share = SHARE.fullmatch(event)
            if share:
                come = failed > 0 and 100 * failed >= float(share[1]) * total
            else:
                come = failed > 0 if event == FIRST_FAILURE else over
            if come:
                yield target, event


def pause(tries: int) -> float:
    """Seconds until the next try, after so many.

    >>> [pause(tries) for tries in (1, 2, 3, 7)]
    [2.0, 8.0, 32.0, 3600.0]
    """
    return float(min(2.0 * 4.0 ** (tries - 1), LONGEST_SECONDS))


def _is_address(text: str) -> bool:
    try:
        address = urlsplit(text)
        return address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        return False


def _worded(value: Any) -> Any:
    """YAML reads the key `on` as true; it is meant as it is written."""
    return (
        {"on" if key is True else key: entry for key, entry in value.items()} if isinstance(value, Mapping) else value
    )


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
