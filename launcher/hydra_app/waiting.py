"""Waiting for the jobs of a multirun: until all have ended, or nobody will start them, or the user has enough of it."""

from __future__ import annotations

import logging
import shlex
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from launcher.errors import NotFoundError
from launcher.hydra_app.returns import return_of
from launcher.item import TERMINAL, Item, ItemFilter
from launcher.queues import Store

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

LOOK_SECONDS = 0.25
HELD_BACK = "failures"
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Waiting:
    """Waits for the items `ids` of `sweep`."""

    store: Store
    sweep: str
    ids: Sequence[str]
    _ended: dict[str, Item] = field(default_factory=dict)

    def returns(self) -> list[JobReturn]:
        """The returns of all, in order; exits with 130 when the user interrupts."""
        if all(agent.detached for agent in self.store.agents()):
            log.info("no agent is there yet; start one: launcher agent")
        try:
            while left := [item_id for item_id in self.ids if item_id not in self._ended]:
                self._look(left)
                if len(self._ended) < len(set(self.ids)):
                    self.store.wait(threading.Event(), LOOK_SECONDS)
        except KeyboardInterrupt:
            self._leave()
            raise SystemExit(130) from None
        return [return_of(self._ended[item_id]) for item_id in self.ids]

    def _look(self, left: Sequence[str]) -> None:
        found = {item.id: item for item in self.store.items(ItemFilter(ids=tuple(left)))}
        for item_id in left:
            if item_id not in found:
                raise NotFoundError(f"run {item_id} is not in {self.store.url} any more; somebody deleted it")
            item = found[item_id]
            if item.state in TERMINAL or item.hold == HELD_BACK:
                self._ended[item_id] = item

    def _leave(self) -> None:
        """Ask what shall become of the rest; where nobody can answer, it stays."""
        left = [item_id for item_id in self.ids if item_id not in self._ended]
        if _asked(f"\n{len(left)} runs of sweep {self.sweep} have not ended. Cancel them? [y/N] "):
            self.store.cancel(ItemFilter(ids=tuple(left)), "hydra")
            log.info(f"{len(left)} runs cancelled")
            return
        log.info(
            f"{len(left)} runs of sweep {self.sweep} stay queued; the same command waits for them again, "
            f"launcher cancel {shlex.quote(self.sweep)} cancels them"
        )


def _asked(question: str) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        return False
    try:
        return input(question).strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        return False
