"""A grid: override strings become axes, axes become points. It knows how many points there are before the first is
composed, and holds none of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.compose.repository import Repository
from launcher.compose.resolving import plain_config
from launcher.errors import ComposeError


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

    `axes` holds, for each override, the strings it takes; `common` goes before every point's own (hydra.* settings).
    """

    repository: Repository
    config_name: str
    axes: tuple[tuple[str, ...], ...]
    common: tuple[str, ...] = ()

    @staticmethod
    def of(repository: Repository, config_name: str, overrides: Sequence[str], *, multirun: bool) -> Grid:
        """The grid that `overrides` span. Without `multirun` they must name a single point.

        Raises ComposeError for overrides that do not parse, for axes without values, and for sweeps without multirun.
        """
        parsed = repository.parse(overrides)
        common = tuple(str(o.input_line) for o in parsed if o.is_hydra_override())
        own = [o for o in parsed if not o.is_hydra_override()]
        if not multirun:
            swept = [str(o.input_line) for o in parsed if o.is_sweep_override()]
            if swept:
                raise ComposeError(
                    f"{', '.join(swept)}: several values for one run; add -m (--multirun) to queue one run each, "
                    "or write a list as key=[a,b]"
                )
            return Grid(repository, config_name, tuple((str(o.input_line),) for o in own), common)
        params = repository.sweeper_params(config_name, overrides)
        axes: dict[str, tuple[str, ...]] = {}
        for override in [*repository.parse(params), *own]:
            axes[override.get_key_element()] = _values(override)
        return Grid(repository, config_name, tuple(axes.values()), common)

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self.axes)

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """The override strings of each point, in order, without composing anything."""
        for combination in itertools.product(*self.axes):
            yield (*self.common, *combination)

    def __iter__(self) -> Iterator[Point]:
        for overrides in self.combinations():
            config = self.repository.compose(self.config_name, overrides)
            plain, deferred = plain_config(config)
            yield Point(overrides, plain, deferred)


def _values(override: Any) -> tuple[str, ...]:
    """What one override contributes to the points, as BasicSweeper writes it."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return (f"{key}={override.get_value_element_as_str()}",)
    if not override.is_discrete_sweep():
        raise ComposeError(f"{override.input_line}: an interval has no points; name its values, or use range()")
    values = tuple(f"{key}={value}" for value in override.sweep_string_iterator())
    if not values:
        raise ComposeError(f"{override.input_line}: no value, so the grid is empty; give this key at least one")
    return values
