"""What is asked of a cluster about runs that have ended, beside the agent's work: their logs, and pods that nobody
heard of. `runner` and `logs` ask; an answer that was yes is not asked for again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, wait


class Asking:
    """Questions under way, by key. `changed` hears of the run when an answer is yes; what is no is asked again at the
    next look."""

    def __init__(self, pool: Executor, changed: Callable[[str], None]) -> None:
        self._pool = pool
        self._changed = changed
        self._asked: dict[str, tuple[str, Future[bool]]] = {}

    def sure(self, key: str, run: str, ask: Callable[[], bool]) -> bool:
        """Whether `ask` has said yes, once; if nobody asks just now, it is asked from now on."""
        asked = self._asked.get(key)
        if asked and not asked[1].done():
            return False
        if asked and asked[1].result():
            del self._asked[key]
            return True
        answer = self._pool.submit(ask)
        self._asked[key] = run, answer
        answer.add_done_callback(lambda done: self._changed(run) if done.result() else None)
        return False

    def gathered(self, seconds: float) -> set[str]:
        """Wait so long for all answers; the runs for which one is yes."""
        wait([answer for _, answer in self._asked.values()], seconds)
        return {run for run, answer in self._asked.values() if answer.done() and answer.result()}
