"""What a sweep of W&B's tries: its config (YAML) becomes a search, whose points are made one by one from their numbers.
A grid has each combination once; a random search draws from its seed, so that point 7 is the same whoever asks."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from launcher import canonical
from launcher.errors import UsageError

LONGEST = 100_000
"""Characters of a config."""

METHODS = ("grid", "random")
REMEMBERED = 200

DRAWN: Mapping[str, tuple[tuple[str, ...], Callable[[Random, Mapping[str, Any]], float]]] = {
    "uniform": (("min", "max"), lambda dice, given: dice.uniform(given["min"], given["max"])),
    "log_uniform": (("min", "max"), lambda dice, given: math.exp(dice.uniform(given["min"], given["max"]))),
    "log_uniform_values": (
        ("min", "max"), lambda dice, given: math.exp(dice.uniform(math.log(given["min"]), math.log(given["max"]))),
    ),
    "inv_log_uniform": (("min", "max"), lambda dice, given: math.exp(-dice.uniform(given["min"], given["max"]))),
    "inv_log_uniform_values": (
        ("min", "max"), lambda dice, given: math.exp(-dice.uniform(-math.log(given["max"]), -math.log(given["min"]))),
    ),
    "normal": ((), lambda dice, given: dice.gauss(given.get("mu", 0), given.get("sigma", 1))),
    "log_normal": ((), lambda dice, given: math.exp(dice.gauss(given.get("mu", 0), given.get("sigma", 1)))),
    "beta": (("a", "b"), lambda dice, given: dice.betavariate(given["a"], given["b"])),
}  # fmt: skip
"""W&B's distributions, by name: what they need, and how a value is drawn. With `q_` before it, in steps of `q`."""

NUMBERS = ("min", "max", "mu", "sigma", "q", "a", "b")
POSITIVE = ("q", "a", "b", "sigma")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: where its value goes, the values of a grid (None: it has none), and how one is drawn."""

    path: tuple[str, ...]
    values: Sequence[Any] | None
    draw: Callable[[Random], Any]


@dataclass(frozen=True, slots=True)
class Search:
    """The points of a sweep. `size`: how many there are; None: without end."""

    method: str
    parameters: tuple[Parameter, ...]
    seed: str | None
    size: int | None

    def point(self, number: int, sweep: str) -> dict[str, Any]:
        """The values of a point, nested as the config has them; those of a config without a seed depend on the sweep.

        >>> search_of("{method: grid, parameters: {a: {values: [1, 2]}, b: {value: x}}}").point(1, "k3x9a1b2")
        {'a': 2, 'b': 'x'}
        """
        point: dict[str, Any] = {}
        dice = Random(f"{sweep if self.seed is None else self.seed}/{number}")  # noqa: S311 - no secret
        rest = number
        chosen: list[Any] = []
        for parameter in reversed(self.parameters):  # the last one changes fastest
            if self.method == "grid" and parameter.values is not None:
                rest, place = divmod(rest, len(parameter.values))
                chosen.append(parameter.values[place])
            else:
                chosen.append(parameter.draw(dice))
        for parameter, value in zip(self.parameters, reversed(chosen), strict=True):
            below = point
            for name in parameter.path[:-1]:
                below = below.setdefault(name, {})
            below[parameter.path[-1]] = value
        return point


@dataclass(frozen=True, slots=True)
class Steps(Sequence[float]):
    """The multiples of `q` from `low` to `high`."""

    low: float
    high: float
    q: float

    def __len__(self) -> int:
        return max(0, int((self.high - self.low) / self.q + 1e-9) + 1)

    def __getitem__(self, place: Any) -> Any:
        return _stepped(self.low + place * self.q, self.q)


def config_of(text: str) -> dict[str, Any]:
    """The mapping that a sweep's config is, in JSON's types. UsageError for any other text."""
    import yaml

    if len(text) > LONGEST:
        raise UsageError(f"config has {len(text):,} characters; at most {LONGEST:,} are taken")

    class Loader(yaml.SafeLoader):
        """YAML without aliases, which make much of little, and which W&B's client never writes."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise UsageError("config has an alias (*name); write the value where it belongs")
            return super().compose_node(parent, index)

    try:
        config = yaml.load(text, Loader)  # noqa: S506 - a safe loader
        canonical.encode(canonical.finite(config))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())[:200]
        raise UsageError(f"config is no YAML that JSON could hold, too: {told}") from error
    if not isinstance(config, dict):
        raise UsageError(f"config holds {type(config).__name__}, expected a mapping with method and parameters")
    return config


@lru_cache(REMEMBERED)
def search_of(text: str) -> Search:
    """The search of a config's text; UsageError with all that is wrong with it."""
    config = config_of(text)
    method = config.get("method")
    problems: list[str] = []
    if method not in METHODS:
        problems.append(
            f"method {method!r} is not searched by this server; expected grid or random, or a scheduler that searches "
            "by itself (scheduler: {job: …} in a config for wandb launch-sweep)"
        )
    if isinstance(config.get("controller"), dict) and config["controller"].get("type") == "local":
        problems.append("controller: a local one is not listened to by this server; leave it out")
    cap, seed = config.get("run_cap"), config.get("seed")
    if cap is not None and (type(cap) is not int or cap < 1):
        problems.append(f"run_cap is {cap!r}, expected a whole number, at least 1")
    found = tuple(_parameters(config.get("parameters"), (), method == "grid", problems))
    if not found and not problems:
        problems.append("parameters are missing; expected a mapping, as {lr: {values: [0.1, 0.01]}}")
    if problems:
        raise UsageError("\n".join(problems))
    sizes = [len(parameter.values) for parameter in found if parameter.values is not None]
    size = min(math.prod(sizes), cap or math.inf) if method == "grid" else cap
    return Search(str(method), found, None if seed is None else str(seed), None if size is None else int(size))


def _parameters(given: Any, path: tuple[str, ...], grid: bool, problems: list[str]) -> Iterator[Parameter]:
    if not isinstance(given, dict):
        if given is not None or path:
            problems.append(f"{'.'.join(('parameters', *path))} is {given!r:.80}, expected a mapping")
        return
    for name in sorted(given, key=str):
        below, at = given[name], (*path, str(name))
        if isinstance(below, dict) and "parameters" in below:
            yield from _parameters(below["parameters"], at, grid, problems)
            continue
        found = _parameter(below, at)
        if isinstance(found, str):
            problems.append(f"parameters.{'.'.join(at)}: {found}")
        elif grid and found.values is None:
            problems.append(
                f"parameters.{'.'.join(at)}: a grid needs values, a value, or whole numbers or steps of q from min "
                "to max; or use method: random"
            )
        else:
            yield found


def _parameter(given: Any, path: tuple[str, ...]) -> Parameter | str:
    """A parameter, or what is wrong with it."""
    if not isinstance(given, dict):
        return f"{given!r:.80} is no parameter; expected {{value: …}}, {{values: […]}} or {{min: …, max: …}}"
    if "value" in given:
        return Parameter(path, (given["value"],), lambda _: given["value"])
    if "values" in given:
        return _choice(given, path)
    numbers = {name: given[name] for name in NUMBERS if name in given}
    for name, number in numbers.items():
        if type(number) not in (int, float) or not math.isfinite(number):
            return f"{name} is {number!r:.80}, expected a number"
        if name in POSITIVE and number <= 0:
            return f"{name} is {number!r}, expected more than 0"
    return _distribution(given, path)


def _choice(given: Mapping[str, Any], path: tuple[str, ...]) -> Parameter | str:
    values, weights = given["values"], given.get("probabilities")
    if not isinstance(values, list) or not values:
        return f"values are {values!r:.80}, expected a list with at least one"
    if weights is not None:
        right = isinstance(weights, list) and len(weights) == len(values)
        if not right or any(type(weight) not in (int, float) or not 0 <= weight <= 1 for weight in weights):
            return f"probabilities are {weights!r:.80}, expected a number from 0 to 1 for each of the values"
        if sum(weights) <= 0:
            return "probabilities are all 0"
    once = tuple({canonical.encode(canonical.finite(value), sort=True): value for value in values}.values())
    return Parameter(path, once, lambda dice: dice.choices(values, weights)[0])


def _distribution(given: Mapping[str, Any], path: tuple[str, ...]) -> Parameter | str:
    low, high = given.get("min"), given.get("max")
    whole = type(low) is int and type(high) is int
    name = str(given.get("distribution") or ("int_uniform" if whole else "uniform"))
    base = name.removeprefix("q_")
    if wrong := _wrong(given, name):
        return wrong
    if name == "int_uniform":
        whole_range = range(int(given["min"]), int(given["max"]) + 1)
        return Parameter(path, whole_range, lambda dice: dice.choice(whole_range))
    _, draw = DRAWN[base]
    q = given.get("q", 1) if base != name else None
    steps = Steps(low, high, q) if q and base == "uniform" and low is not None and high is not None else None
    return Parameter(path, steps, lambda dice: _drawn(draw, dice, given, q))


def _wrong(given: Mapping[str, Any], name: str) -> str | None:
    """What is wrong with the arguments of a distribution; they are numbers, if they are there."""
    base, low, high = name.removeprefix("q_"), given.get("min"), given.get("max")
    if name != "int_uniform" and base not in DRAWN:
        known = f"int_uniform, {', '.join(DRAWN)}; all but the first also with q_ before them"
        return f"distribution {name[:80]!r} is unknown; expected {known}"
    needed = ("min", "max") if name == "int_uniform" else DRAWN[base][0]
    if missing := [each for each in needed if each not in given]:
        return f"distribution {name} needs {' and '.join(missing)}"
    if low is not None and high is not None and low > high:
        return f"min {low!r} is more than max {high!r}"
    if base.endswith("_values") and low is not None and low <= 0:
        return f"min is {low!r}, expected more than 0 for {name}"
    if name == "int_uniform" and any(number != int(number) for number in (low, high) if number is not None):
        return f"min {low!r} and max {high!r} are no whole numbers, which int_uniform needs"
    return None


def _drawn(draw: Callable[[Random, Mapping[str, Any]], float], dice: Random, given: Any, q: float | None) -> float:
    try:
        value = draw(dice, given)
        return value if q is None else _stepped(value, q)
    except OverflowError:
        return sys.float_info.max


def _stepped(value: float, q: float) -> float:
    """The multiple of q that is nearest, without the last digits of a division."""
    return float(f"{round(value / q) * q:.12g}") if isinstance(q, float) else round(value / q) * q
