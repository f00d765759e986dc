"""The overview: queues, agents with their slots and heartbeats, sweeps with their states, the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.item import HELD, Count
from launcher.queues import LEASE_SECONDS
from launcher.web.view import View, tally

PARTS = ("queues", "agents", "sweeps")
SWEEPS = 25
"""Sweeps on a page."""

Parameters = Mapping[str, str]


def overview(view: View, parameters: Parameters) -> dict[str, Any]:
    """What the overview's templates show. Parameters: `page` of the sweeps, `find` a part of their names."""
    by_queue, by_sweep = _by("queue", view.counts), _by("sweep", view.counts)
    held = _by("queue", [count for count in view.all.holds if count.queue in view.roles])
    find = parameters.get("find", "").strip()
    seen = [
        sweep for sweep in reversed(view.all.sweeps)
        if sweep.name in by_sweep and find.lower() in sweep.name.lower()
    ]  # fmt: skip
    page = min(number(parameters.get("page"), 1), max(1, -(-len(seen) // SWEEPS)))
    shown = seen[(page - 1) * SWEEPS : page * SWEEPS]
    return {
        "find": find,
        "queues": [
            {
                "queue": queue,
                "tally": tally(by_queue.get(queue.name, [])),
                "held": sum(count.number for count in held.get(queue.name, [])),
                "may": view.may("admin", [queue.name]),
            }
            for queue in view.queues
        ],
        "agents": [
            {
                "agent": agent,
                "busy": view.all.held.get(agent.id, 0),
                "room": dict(agent.room),
                "lease": LEASE_SECONDS,
            }
            for agent in view.all.agents
            if not agent.queues or any(name in view.roles for name in agent.queues)
        ],
        "sweeps": [{"sweep": sweep, "tally": tally(by_sweep[sweep.name])} for sweep in shown],
        "found": len(seen),
        "page": page,
        "pages": max(1, -(-len(seen) // SWEEPS)),
        "running": sum(count.number for count in view.counts if count.state in HELD),
    }


def _by(name: str, counts: list[Count]) -> dict[str, list[Count]]:
    found: dict[str, list[Count]] = {}
    for count in counts:
        found.setdefault(getattr(count, name) or "", []).append(count)
    return found


def number(text: str | None, least: int) -> int:
    """The number that a parameter says; the least where it says none, or less."""
    return max(least, int(text)) if text and text.isascii() and text.isdigit() and len(text) <= 18 else least
