"""A grid: override strings become axes, axes become points. It knows how many points there are before the first is
composed, and holds none of them."""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from launcher.compose.axes import Axis, axis_strings, plan_axes
from launcher.compose.composer import Composer
from launcher.compose.product import Combination, Dimension, Product, permutation
from launcher.compose.repository import Repository
from launcher.compose.rules import Rule
from launcher.errors import ComposeError, suggest

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of a grid's swept values.

    `overrides`: the override strings that Hydra would hand this job. `config`: the composed config, a plain dict.
    `deferred`: dotted paths of the leaves that only the running app can resolve. `choices`: the option of each config
    group, those of the defaults lists included.
    """

    overrides: tuple[str, ...]
    config: dict[str, Any]
    deferred: tuple[str, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Block:
    """A product of axes as its user writes it. `zips` names keys whose axes advance together; `rules` drop points."""

    overrides: tuple[str, ...] = ()
    zips: tuple[tuple[str, ...], ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which points of a grid, in which order. `sample` points, drawn by `seed` before any rule; all without it."""

    sample: int | None = None
    seed: int = 0
    shuffle: bool = False

    def numbers(self, size: int) -> Iterator[int]:
        """The numbers, below `size`, of the points to make."""
        chosen = itertools.islice(permutation(size, self.seed), self.sample)
        return chosen if self.shuffle else iter(sorted(chosen) if self.sample is not None else range(size))


@dataclass(frozen=True, slots=True)
class _Part:
    """A block, read: its combinations, how they are composed, and its rules."""

    product: Product
    composer: Composer
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The points of one config and its blocks; `len` counts them before rules, iterating composes them, lazily.

    While it is iterated, `routes` counts which way each point was made and `removed` what each rule dropped.
    With `strict`, a leaf that only the running app can resolve is an error; `verify` is the number of points, drawn at
    random, that Hydra composes as well, any difference being an error.
    """

    parts: tuple[_Part, ...]
    selection: Selection = Selection()
    strict: bool = False
    verify: int = 0
    routes: Counter[str] = field(default_factory=Counter, compare=False)
    removed: Counter[str] = field(default_factory=Counter, compare=False)

    @staticmethod
    def of(
        repository: Repository, config_name: str | None, overrides: Sequence[str], *, multirun: bool, **options: Any
    ) -> Grid:
        """The grid that `overrides` span: `of_blocks` with one block."""
        return Grid.of_blocks(repository, config_name, [Block(tuple(overrides))], multirun=multirun, **options)

    @staticmethod
    def of_blocks(
        repository: Repository, config_name: str | None, blocks: Sequence[Block], *, multirun: bool, **options: Any
    ) -> Grid:
        """The union of `blocks`; `options` are the grid's other fields. Without `multirun` it must be a single point.

        Raises ComposeError for overrides that do not parse, for axes without values or with too many, and for sweeps
        without multirun.
        """
        routes: Counter[str] = Counter()
        parts = tuple(_part(repository, config_name, block, routes, multirun=multirun) for block in blocks)
        size = sum(math.prod(map(len, part.product.dimensions)) for part in parts)
        if size > sys.maxsize:
            raise ComposeError(f"the grid has {size:,} points, at most {sys.maxsize:,} can be; give fewer values")
        return Grid(parts, routes=routes, **options)

    def __len__(self) -> int:
        size = self._size()
        return size if self.selection.sample is None else min(size, self.selection.sample)

    def _size(self) -> int:
        return sum(len(part.product) for part in self.parts)

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """The override strings of each point, in order and before rules, without composing anything."""
        for part, (strings, _) in self._chosen():
            yield (*part.composer.common, *strings)

    def _chosen(self) -> Iterator[tuple[_Part, Combination]]:
        if self.selection == Selection():
            for part in self.parts:
                for combination in part.product:
                    yield part, combination
            return
        for number in self.selection.numbers(self._size()):
            place = number
            for part in self.parts:
                if place < len(part.product):
                    yield part, part.product[place]
                    break
                place -= len(part.product)

    def __iter__(self) -> Iterator[Point]:
        self.routes.clear()
        self.removed.clear()
        draw = int.from_bytes(os.urandom(8))
        verified = set(itertools.islice(permutation(len(self), draw), self.verify)) if self.verify else ()
        kept = False
        for number, (part, combination) in enumerate(self._chosen()):
            composed = part.composer.compose(combination)
            point = Point((*part.composer.common, *combination[0]), *composed)
            if number in verified:
                _verify(point, part.composer, combination[0])
            if (rule := _broken(point, part.rules)) is not None:
                self.removed[str(rule)] += 1
                continue
            if self.strict and point.deferred:
                _refuse_deferred(point)
            kept = True
            yield point
        if not kept:
            told = ", ".join(f"{rule} {count:,}" for rule, count in self.removed.items())
            raise ComposeError(f"no point is left of {len(self):,}; removed: {told}")


def _part(
    repository: Repository, config_name: str | None, block: Block, routes: Counter[str], *, multirun: bool
) -> _Part:
    parsed = repository.parse(block.overrides)
    common = tuple(str(o.input_line) for o in parsed if o.is_hydra_override())
    own = [o for o in parsed if not o.is_hydra_override()]
    if multirun:
        axes = {o.get_key_element(): o for o in [*_sweeper_params(repository, config_name, block), *own]}
        is_group = repository.group_check(config_name, common)
        columns = [(override, axis_strings(override)) for override in axes.values()]
        dimensions = _zipped(list(plan_axes(columns, is_group, repository)), block.zips)
    else:
        _refuse_sweeps(parsed)
        dimensions = [Dimension((Axis(o.key_or_group, (str(o.input_line),)),)) for o in own]
    product = Product(tuple(dimensions))
    return _Part(product, Composer(repository, config_name, common, product.axes, routes), block.rules)


def _sweeper_params(repository: Repository, config_name: str | None, block: Block) -> list[Override]:
    return repository.parse(repository.sweeper_params(config_name, block.overrides))


def _refuse_sweeps(parsed: Sequence[Override]) -> None:
    swept = [str(o.input_line) for o in parsed if o.is_sweep_override()]
    if swept:
        raise ComposeError(
            f"{', '.join(swept)}: several values for one run; add -m (--multirun) to queue one run each, "
            "or write a list as key=[a,b]"
        )


def _zipped(axes: Sequence[Axis], zips: Sequence[Sequence[str]]) -> list[Dimension]:
    """One dimension for each axis, or zip of axes; a zip stands where its first key does."""
    named = {axis.key: axis for axis in axes}
    together: dict[str, Dimension] = {}
    for keys in zips:
        for key in keys:
            if key not in named:
                raise ComposeError(f"zip of {', '.join(keys)}: no axis {key!r}; {suggest(key, named)}")
            if key in together or list(keys).count(key) > 1:
                raise ComposeError(f"zip of {', '.join(keys)}: {key!r} is zipped twice")
        lengths = {len(named[key]) for key in keys}
        if len(lengths) > 1:
            told = ", ".join(f"{key} has {len(named[key]):,}" for key in keys)
            raise ComposeError(f"zip needs axes of one length: {told}")
        dimension = Dimension(tuple(axis for axis in axes if axis.key in keys))
        together |= dict.fromkeys(keys, dimension)
    dimensions = [together.get(axis.key) or Dimension((axis,)) for axis in axes]
    return list({id(dimension): dimension for dimension in dimensions}.values())


def _broken(point: Point, rules: Sequence[Rule]) -> Rule | None:
    """The first rule that drops the point."""
    for rule in rules:
        try:
            if not rule.keeps(point.config, point.deferred):
                return rule
        except ComposeError as error:
            raise ComposeError(f"point {' '.join(point.overrides)}: {error}") from error
    return None


def _refuse_deferred(point: Point) -> None:
    shown = "\n".join(f"  {leaf}" for leaf in point.deferred)
    raise ComposeError(
        f"point {' '.join(point.overrides) or '(no overrides)'} has leaves that only the running app can resolve, and "
        f"--strict allows none:\n{shown}\nGive them values, or import the module that registers their resolvers: "
        "--resolvers MODULE"
    )


def _verify(point: Point, composer: Composer, strings: Sequence[str]) -> None:
    config, deferred, _ = composer.by_hydra(strings)
    if repr(config) != repr(point.config) or sorted(deferred) != sorted(point.deferred):
        differing = sorted(_differences(point.config, config, ""))
        raise ComposeError(
            f"point {' '.join(point.overrides)} differs from what Hydra composes, in "
            f"{', '.join(differing) or 'the order of keys'}; please report it"
        )


def _differences(ours: Any, hydras: Any, path: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(hydras, dict) and ours.keys() == hydras.keys():
        for key in ours:
            yield from _differences(ours[key], hydras[key], f"{path}.{key}" if path else str(key))
    elif repr(ours) != repr(hydras):
        yield f"{path or '(the config)'} ({ours!r}, Hydra {hydras!r})"
