"""Points from combinations: the plans of the fast composer, kept while they are of use, and Hydra for whatever they do
not prove. It counts which way each point was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.compose.axes import Axis
from launcher.compose.plan import Plan, UnprovenError
from launcher.compose.product import Combination
from launcher.compose.repository import Repository
from launcher.compose.resolving import plain_config
from launcher.errors import ComposeError

KEPT_PLANS = 64
"""A plan holds a config, about a megabyte. Grids whose groups vary slowest need one at a time."""

Composed = tuple[dict[str, Any], tuple[str, ...], dict[str, Any]]
"""A point's config, the dotted paths of its deferred leaves, and its group choices."""


@dataclass(slots=True)
class Composer:
    """Composes the combinations of some axes. `common` holds overrides that go before every point's own.

    `routes` counts which way each point was made: patched, or composed by Hydra and why.
    """

    repository: Repository
    config_name: str | None
    common: tuple[str, ...]
    axes: tuple[Axis, ...]
    routes: Counter[str]
    _plans: dict[tuple[str, ...], tuple[Plan, dict[str, Any]] | UnprovenError] = field(default_factory=dict)
    _fixed: list[int] = field(init=False)
    _swept: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._fixed = [place for place, axis in enumerate(self.axes) if axis.values is None]
        self._swept = [place for place, axis in enumerate(self.axes) if axis.values is not None]

    def compose(self, combination: Combination) -> Composed:
        """The point of a combination. Raises ComposeError, Hydra's own, where there is none."""
        strings, values = combination
        if not self._swept:
            self.routes["composed by Hydra: nothing that varies is a plain value"] += 1
            return self.by_hydra(strings)
        choice = tuple([strings[place] for place in self._fixed])
        plan = self._plans.get(choice)
        if plan is None:
            if len(self._plans) == KEPT_PLANS:
                del self._plans[next(iter(self._plans))]
            plan = self._plans[choice] = self._plan(choice, [strings[place] for place in self._swept])
        try:
            if isinstance(plan, UnprovenError):
                raise plan
            patched, choices = plan
            composed = patched.point([values[place] for place in self._swept])
        except UnprovenError as reason:
            self.routes[f"composed by Hydra: {reason}"] += 1
            return self.by_hydra(strings)
        self.routes["patched"] += 1
        return *composed, choices

    def by_hydra(self, strings: Sequence[str]) -> Composed:
        """The same point, composed by Hydra."""
        config, choices = self.repository.compose_and_choose(self.config_name, [*self.common, *strings])
        return *plain_config(config), choices

    def _plan(self, choice: Sequence[str], first: Sequence[str]) -> tuple[Plan, dict[str, Any]] | UnprovenError:
        """The plan for one combination of what must be composed, and its group choices; why not, where patching cannot
        be proven."""
        try:
            config, choices = self.repository.compose_and_choose(self.config_name, [*self.common, *choice])
            return Plan(config, self.repository.parse(first)), choices
        except UnprovenError as reason:
            return reason
        except ComposeError:
            return UnprovenError("it does not compose")  # Hydra says why, with the point
