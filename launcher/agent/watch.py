"""Who is silent: an agent is taken for lost when it has not beaten for as long as a lease lasts, by the clock of the
one who watches. No two clocks are compared, so none that jumps, or differs, can cost a lease."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from launcher.item import AgentInfo


@dataclass(slots=True)
class Watch:
    """Watches agents; `seconds` is how long a lease lasts.

    Time in which nobody looked hardly counts: while the store was away, or the watcher stood still, the others could
    not beat, or not be heard.

    >>> watch, agent = Watch(30.0), AgentInfo("a", "host", 1, 0.0, (), 1, 0.0, 0.0, beats=4)
    >>> [[found.id for found in watch.silent([agent], now)] for now in (100.0, 500.0, 510.0, 520.0)]
    [[], [], [], ['a']]
    """

    seconds: float
    _heard: dict[str, tuple[int, float, bool]] = field(default_factory=dict)
    _looked: float | None = None
    _watched: float = 0.0

    def silent(self, agents: Iterable[AgentInfo], now: float) -> list[AgentInfo]:
        """Those of these agents that have not beaten since the time `now` was `seconds` less; `now` must never go
        back (time.monotonic)."""
        self._watched += min(now - (now if self._looked is None else self._looked), self.seconds / 2)
        self._looked = now
        before, self._heard = self._heard, {}
        lost = []
        for agent in agents:
            beats, since, beaten = before.get(agent.id, (agent.beats, self._watched, False))
            if beats != agent.beats:
                since, beaten = self._watched, True
            self._heard[agent.id] = (agent.beats, since, beaten)
            if self._watched - since > self.seconds:
                lost.append(agent)
        return lost

    def heard(self, agent: AgentInfo) -> bool:
        """Whether this agent has beaten since it is watched."""
        return agent.id in self._heard and self._heard[agent.id][2]
