"""An item: its state and story, its config beside the sweep's common one, its code and command, its attempts and the
end of its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from launcher import canonical
from launcher.analysis import story
from launcher.analysis.facts import facts
from launcher.item import HELD, TERMINAL, Attempt, Item
from launcher.queues import LEASE_SECONDS
from launcher.spec import PRIORITY_NAMES
from launcher.web.logs import last_part
from launcher.web.view import View

PARTS = ("itemhead", "story", "attempts")
MOST_STEPS = 200
FEW = 8
"""Metrics that the page's head shows; where there are more, all stand below."""

TOLD = {"item", "state", "sweep", "point", "result", "took", "attempt", "exit code", "queue", "name"}
"""Facts that the page's head shows in its own way."""

NOTHING = object()


def item_parts(view: View, item_id: str) -> dict[str, Any]:
    """What changes of an item."""
    store = view.desk.store
    item = view.item(item_id)
    document = store.document(item.id)
    told = story.read(store, item)
    steps = list(story.steps(told))
    attempts = story.attempts(item, store.attempts(item.id), store.events(item.id))
    every = facts(item, document)
    return {
        "item": item, "priority": PRIORITY_NAMES[item.priority], "priorities": PRIORITY_NAMES,
        "result": list((item.result or {}).items()), "few": FEW,
        "facts": [(name, value) for name, value in every if value and name not in TOLD],
        "waits": [(name, value) for name, value in story.facts(told) if value],
        "steps": steps[-MOST_STEPS:], "hidden": max(0, len(steps) - MOST_STEPS),
        "attempts": attempts, "may": view.may("member", [item.queue]),
        "held": item.state in HELD, "over": item.state in TERMINAL, "lease": LEASE_SECONDS,
        "document": document,
    }  # fmt: skip


def item_rest(view: View, parts: Mapping[str, Any]) -> dict[str, Any]:
    """What else an item's page shows: its config, and the end of its log."""
    item, attempts = parts["item"], parts["attempts"]
    lines = config(view, item, parts["document"])
    return {
        "config": lines, "differing": sum(line["differs"] for line in lines), "folders": with_log(item, attempts),
        "log": last_part(item),
    }  # fmt: skip


def with_log(item: Item, attempts: Sequence[Attempt]) -> dict[int, str]:
    """The folders of an item's attempts, by their numbers."""
    found = {each.attempt: each.run_dir for each in attempts if each.run_dir}
    if item.attempt and item.run_dir:
        found[item.attempt] = item.run_dir
    return found


def config(view: View, item: Item, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each leaf of an item's config beside what most of its sweep's items have there; those that differ are marked."""
    own = dict(canonical.leaves(document["overrides"].get("run_config") or {}))
    others = view.reader.configs(item.sweep, view.sweep(item.sweep)[1]) if item.sweep else []
    swept = {override.partition("=")[0].lstrip("+~") for override in item.point}
    paths = dict.fromkeys([*own, *(path for other in others for path in other)])
    return [_line(path, own, others, path in swept) for path in paths]


def _line(path: str, own: Mapping[str, Any], others: Sequence[Mapping[str, Any]], swept: bool) -> dict[str, Any]:
    texts = Counter(_text(other, path) for other in others)
    [(common, count)] = texts.most_common(1) or [(None, 0)]
    mine = _text(own, path)
    mostly = count * 2 > len(others)
    return {
        "path": path, "value": mine, "common": common if mostly else None, "kinds": len(texts),
        "differs": bool(others) and (mine != common if mostly else True), "swept": swept,
    }  # fmt: skip


def _text(leaves_: Mapping[str, Any], path: str) -> str | None:
    value = leaves_.get(path, NOTHING)
    if value is NOTHING:
        return None
    return value if isinstance(value, str) else canonical.encode(value)
