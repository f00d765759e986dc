"""What an agent has leases for: its runs, what its runners were asked to start, and what waits here for a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from launcher.agent.ahead import Ahead
from launcher.agent.runs import Run
from launcher.agent.starts import Starts


@dataclass(frozen=True, slots=True)
class Hand:
    """An agent's `runs` by their tokens, its `starts` and what it took `ahead`, all at once. `detaches`: whether
    engines go on with theirs when the agent is gone."""

    runs: Mapping[str, Run]
    starts: Starts
    ahead: Ahead
    detaches: bool

    def tokens(self) -> set[str]:
        """The leases of all of them."""
        return self.runs.keys() | {each.lease.token for each in (*self.starts.awaited(), *self.ahead)}

    def ours(self) -> set[str]:
        """The leases of the runs that count."""
        return {token for token, run in self.runs.items() if not run.abandoned}

    def resources(self) -> list[str]:
        """What each run needs a place on, also of those that are about to begin."""
        return [each.resource for each in self.starts.awaited()] + [run.resource for run in self.runs.values()]

    def codes(self) -> list[str]:
        """The folders of the code of all of them."""
        begun = [str(run.handle.get("code")) for run in self.runs.values()]
        return begun + [each.code for each in (*self.starts.awaited(), *self.ahead)]

    def local(self) -> list[Run]:
        """The runs that must end before the agent can leave."""
        return [run for run in self.runs.values() if not (run.remote and self.detaches)]
