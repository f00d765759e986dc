"""A grid: override strings become axes, axes become points. It knows how many points there are before the first is
composed, and holds none of them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from launcher.compose.axes import Axis, plan_axes
from launcher.compose.plan import Plan, UnprovenError
from launcher.compose.repository import Repository
from launcher.compose.resolving import plain_config
from launcher.errors import ComposeError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

KEPT_PLANS = 64
"""A plan holds a config, about a megabyte. Grids whose groups vary slowest need one at a time."""


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of a grid's swept values.

    `overrides`: the override strings that Hydra would hand this job. `config`: the composed config, a plain dict.
    `deferred`: dotted paths of the leaves that only the running app can resolve.
    """

    overrides: tuple[str, ...]
    config: dict[str, Any]
    deferred: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grid:
    """The points of one config and its overrides; `len` counts them, iterating composes them, lazily and in order.

    `common` holds overrides that go before every point's own (hydra.* settings). `routes` counts, while the points are
    composed, which way each was made: patched, or composed by Hydra and why.
    """

    repository: Repository
    config_name: str
    axes: tuple[Axis, ...]
    common: tuple[str, ...] = ()
    routes: Counter[str] = field(default_factory=Counter, compare=False)

    @staticmethod
    def of(repository: Repository, config_name: str, overrides: Sequence[str], *, multirun: bool) -> Grid:
        """The grid that `overrides` span. Without `multirun` they must name a single point.

        Raises ComposeError for overrides that do not parse, for axes without values, and for sweeps without multirun.
        """
        parsed = repository.parse(overrides)
        common = tuple(str(o.input_line) for o in parsed if o.is_hydra_override())
        own = [o for o in parsed if not o.is_hydra_override()]
        swept = [str(o.input_line) for o in parsed if o.is_sweep_override()]
        if not multirun:
            if swept:
                raise ComposeError(
                    f"{', '.join(swept)}: several values for one run; add -m (--multirun) to queue one run each, "
                    "or write a list as key=[a,b]"
                )
            return Grid(repository, config_name, tuple(Axis((str(o.input_line),), o.key_or_group) for o in own), common)
        axes: dict[str, tuple[Override, tuple[str, ...]]] = {}
        for override in [*repository.parse(repository.sweeper_params(config_name, overrides)), *own]:
            axes[override.get_key_element()] = (override, _strings(override))
        is_group = repository.group_check(config_name, common)
        return Grid(repository, config_name, tuple(plan_axes(list(axes.values()), is_group, repository)), common)

    def __len__(self) -> int:
        return math.prod(len(axis.strings) for axis in self.axes)

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """The override strings of each point, in order, without composing anything."""
        for combination in itertools.product(*(axis.strings for axis in self.axes)):
            yield (*self.common, *combination)

    def __iter__(self) -> Iterator[Point]:
        self.routes.clear()
        fixed = [place for place, axis in enumerate(self.axes) if axis.values is None]
        swept = [place for place, axis in enumerate(self.axes) if axis.values is not None]
        plans: dict[tuple[str, ...], Plan | UnprovenError] = {}
        for pairs in itertools.product(*(axis.pairs() for axis in self.axes)):
            overrides = (*self.common, *[string for string, _ in pairs])
            choice = tuple([pairs[place][0] for place in fixed])
            plan = plans.get(choice)
            if plan is None:
                if len(plans) == KEPT_PLANS:
                    del plans[next(iter(plans))]
                plan = plans[choice] = self._plan(choice, [pairs[place][0] for place in swept])
            try:
                if isinstance(plan, UnprovenError):
                    raise plan
                config, deferred = plan.point([pairs[place][1] for place in swept])
                self.routes["patched"] += 1
            except UnprovenError as reason:
                self.routes[f"composed by Hydra: {reason}"] += 1
                config, deferred = plain_config(self.repository.compose(self.config_name, overrides))
            yield Point(overrides, config, deferred)

    def _plan(self, choice: Sequence[str], first: Sequence[str]) -> Plan | UnprovenError:
        """The plan for one combination of what must be composed; why not, where patching cannot be proven."""
        overrides = [*self.common, *choice]
        try:
            config = self.repository.compose(self.config_name, overrides)
            return Plan(config, self.repository.parse(first))
        except UnprovenError as reason:
            return reason
        except ComposeError:
            return UnprovenError("it does not compose")  # Hydra says why, with the point


def _strings(override: Override) -> tuple[str, ...]:
    """What one override contributes to the points, as BasicSweeper writes it."""
    from hydra.errors import HydraException

    key = override.get_key_element()
    if not override.is_sweep_override():
        return (f"{key}={override.get_value_element_as_str()}",)
    if not override.is_discrete_sweep():
        raise ComposeError(f"{override.input_line}: an interval has no points; name its values, or use range()")
    try:
        strings = tuple(f"{key}={value}" for value in override.sweep_string_iterator())
    except (HydraException, ValueError) as error:
        raise ComposeError(f"{override.input_line}: {error}") from error
    if not strings:
        raise ComposeError(f"{override.input_line}: no value, so the grid is empty; give this key at least one")
    return strings
