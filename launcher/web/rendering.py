"""Templates to HTML: everything that is put into one is escaped. Filters say numbers and times as the command line
does."""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from launcher.waits import HOLDS
from launcher.words import amount, duration, moment, shown

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


def link(kind: str, name: str) -> str:
    """The address of a thing's page, whatever letters are in its name.

    >>> link("sweeps", "a/b c?")
    '/sweeps/a%2Fb%20c%3F'
    """
    return f"/{kind}/{quote(name, safe='')}"


def query(parameters: Mapping[str, str], **changes: object) -> str:
    """An address' query: the parameters with some changed; those that are empty left out.

    >>> query({"page": "3", "where": "lr=1"}, page=None)
    '?where=lr%3D1'
    """
    told = {**parameters, **{name: "" if value is None else str(value) for name, value in changes.items()}}
    return "?" + urlencode({name: value for name, value in told.items() if value})


@cache
def asset(name: str) -> str:
    """The address of a file of `static`, which changes with its content, so that browsers may keep it for ever."""
    return f"/assets/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]}"


def when(at: float | None) -> Markup:
    """A time as an element: its text in UTC, which the page's script turns into the reader's own zone."""
    if at is None or not math.isfinite(at):
        return Markup("")
    told = datetime.fromtimestamp(at, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        told.isoformat(timespec="seconds"), told.strftime("%Y-%m-%d %H:%M:%S UTC")
    )


def ago(at: float | None) -> Markup:
    """A time as an element whose text is how long ago it was, which the page's script keeps true."""
    if at is None or not math.isfinite(at):
        return Markup("")
    told = datetime.fromtimestamp(at, UTC)
    return Markup('<time datetime="{}" data-ago>{}</time>').format(
        told.isoformat(timespec="milliseconds"), told.strftime("%Y-%m-%d %H:%M UTC")
    )


def segments(tally: Mapping[str, int]) -> list[tuple[str, float, float]]:
    """A state bar's parts: state, where it begins and how wide it is, in percent; what there is can be seen."""
    order = ("finished", "failed", "cancelled", "running", "leased", "pending")
    total = sum(tally.values())
    widths = {state: max(100 * tally.get(state, 0) / total, 0.6) for state in order if tally.get(state)}
    scale = 100 / sum(widths.values()) if widths else 0.0
    found, place = [], 0.0
    for state, width in widths.items():
        found.append((state, round(place, 3), round(width * scale, 3)))
        place += width * scale
    return found


@cache
def templates() -> Environment:
    """The templates of the page."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.filters.update(
        shown=shown, duration=duration, moment=moment, amount=amount, when=when, ago=ago, segments=segments,
        thousands=lambda number: f"{number:,}", quoted=shlex.quote,
    )  # fmt: skip
    made.globals.update(link=link, query=query, asset=asset, holds=HOLDS)
    return made


def render(template: str, context: Mapping[str, Any]) -> str:
    """The HTML of a template."""
    return templates().get_template(template).render(context)


@cache
def files() -> tuple[Path, ...]:
    """The files that browsers may ask for."""
    return tuple(path for path in STATIC.rglob("*") if path.is_file())
