"""The fast composer. A plan is made once for a combination of group choices: it composes through Hydra, proves which
leaves the swept values can reach, and then gives each point by patching the resolved tree. Whatever is not proven
raises `UnprovenError`, and the caller composes that point through Hydra itself. docs/composing.md tells the story."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from launcher.compose.interpolations import Path, impure, interpolated, template
from launcher.compose.resolving import convert_node, plain_config
from launcher.compose.tracing import Tracer
from launcher.errors import ComposeError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig
    from omegaconf.base import Node

Values = list[Any]

SCALARS = (str, int, float, bool, type(None))


class UnprovenError(Exception):
    """This point, or this whole plan, must be composed by Hydra; the message says why."""


@dataclass(frozen=True, slots=True)
class _Swept:
    """A swept leaf: where it is, the container and key that hold it, and how its type converts a value."""

    path: Path
    node: Node
    convert: Callable[[Any], Any] | None


@dataclass(slots=True)
class _Branch:
    """The part of a tree that a point replaces: leaves by their slot, and branches below."""

    leaves: list[tuple[Any, int]] = field(default_factory=list)
    below: dict[Any, _Branch] = field(default_factory=dict)

    def add(self, path: Path, slot: int) -> None:
        branch = self
        for key in path[:-1]:
            branch = branch.below.setdefault(key, _Branch())
        branch.leaves.append((path[-1], slot))

    def applied(self, base: Any, values: Values) -> Any:
        """`base` with this branch's leaves replaced; what lies beside them is shared, not copied."""
        tree = base.copy()
        for key, slot in self.leaves:
            tree[key] = values[slot]
        for key, branch in self.below.items():
            tree[key] = branch.applied(base[key], values)
        return tree


class Plan:
    """The points of one combination of group choices.

    `config` is what Hydra composed for that combination, without the swept values; `first` holds one override for each
    swept value key. Raises UnprovenError when patching cannot be proven equal to composing, ComposeError never.
    """

    def __init__(self, config: DictConfig, first: Sequence[Override]) -> None:
        self._config = config
        self._swept = [_sweep(config, override) for override in first]
        try:
            self._base, deferred = plain_config(config)
        except ComposeError as error:
            raise UnprovenError("its interpolations do not all resolve") from error
        self._slots = {id(swept.node): slot for slot, swept in enumerate(self._swept)}
        self._slow: list[tuple[Path, Node]] = []
        self._steps: list[Callable[[Values], Any]] = []
        self._branch = _Branch()
        dependents = self._dependents()
        self._settle(dependents)
        slow = [".".join(map(str, path)) for path, _ in self._slow]
        self._deferred = tuple(path for path in deferred if not any(_within(path, leaf) for leaf in slow))
        self._check(deferred)

    def point(self, given: Sequence[Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The config and the deferred leaves of the point with these values, one for each swept key.

        Raises UnprovenError where this point must be composed by Hydra (a value that its key's type refuses, say).
        """
        values = [
            swept.convert(value) if swept.convert else value for swept, value in zip(self._swept, given, strict=True)
        ]
        deferred = self._evaluate_slow(values) if self._slow else self._deferred
        for step in self._steps:
            values.append(step(values))
        return self._branch.applied(self._base, values), deferred

    def _dependents(self) -> dict[int, tuple[Path, Node]]:
        """The leaves whose evaluation reads a swept leaf, or calls a resolver that may answer differently each time."""
        found = list(interpolated(self._config, ()))
        restless = [node for _, node in found if impure(node)]
        tracer = Tracer([*(swept.node for swept in self._swept), *restless])
        dependents = {}
        for path, node in found:
            with tracer.tracing() as read:
                convert_node(node, path, [], [])
            if read or node in restless:
                dependents[id(node)] = (path, node)
        return dependents

    def _settle(self, dependents: Mapping[int, tuple[Path, Node]]) -> None:
        """A slot for each dependent leaf: swept values first, then what OmegaConf evaluates, then compiled steps."""
        templates = {key: self._template(path, node, dependents) for key, (path, node) in dependents.items()}
        for key, parts in templates.items():
            if parts is None:
                self._slots[key] = len(self._swept) + len(self._slow)
                self._slow.append(dependents[key])
        for key, (_, node) in dependents.items():
            self._compile(node, key, templates)
        for swept in self._swept:
            self._branch.add(swept.path, self._slots[id(swept.node)])
        for key, (path, _) in dependents.items():
            self._branch.add(path, self._slots[key])

    def _template(self, path: Path, node: Node, dependents: Mapping[int, tuple[Path, Node]]) -> list[str | Node] | None:
        """The leaf's texts and the varying leaves between them; None for what only OmegaConf can evaluate."""
        deferred: list[str] = []
        convert_node(node, path, deferred, [])
        parts = None if deferred else template(node)
        if parts is None:
            return None
        fixed: list[str | Node] = []
        for part in parts:
            if isinstance(part, str) or id(part) in self._slots or id(part) in dependents:
                fixed.append(part)
                continue
            value = convert_node(part, path, deferred, [])
            if deferred or not isinstance(value, SCALARS) or len(parts) == 1:
                return None
            fixed.append(str(value))
        return fixed

    def _compile(self, node: Any, key: int, templates: Mapping[int, list[str | Node] | None]) -> None:
        """Make the step that computes a leaf, after those of the leaves it refers to."""
        parts = templates[key]
        if key in self._slots or parts is None:
            return
        for part in parts:
            if not isinstance(part, str) and id(part) not in self._slots:
                self._compile(part, id(part), templates)
        compiled = [part if isinstance(part, str) else self._slots[id(part)] for part in parts]
        convert = _converter(node)
        if len(compiled) == 1 and isinstance(compiled[0], int):
            if convert is None:
                self._slots[key] = compiled[0]  # an untyped reference is its target's value
                return
            step = _reference(compiled[0], convert)
        else:
            step = _text(compiled, convert)
        self._slots[key] = len(self._swept) + len(self._slow) + len(self._steps)
        self._steps.append(step)

    def _evaluate_slow(self, values: Values) -> tuple[str, ...]:
        """Let OmegaConf evaluate the leaves that were not compiled, in the config of this point."""
        from omegaconf import OmegaConf

        OmegaConf.clear_cache(self._config)
        for swept, value in zip(self._swept, values, strict=True):
            swept.node.__dict__["_val"] = value
        deferred: list[str] = []
        problems: list[str] = []
        try:
            for path, node in self._slow:
                values.append(convert_node(node, path, deferred, problems))
        except ComposeError as error:
            raise UnprovenError("an interpolation has no end") from error
        if problems:
            raise UnprovenError("an interpolation does not resolve")
        return (*self._deferred, *deferred)

    def _check(self, deferred: tuple[str, ...]) -> None:
        """Patching the plan's own values in must give what Hydra composed, type for type."""
        config, patched_deferred = self.point([swept.node._value() for swept in self._swept])
        if repr(config) != repr(self._base) or sorted(patched_deferred) != sorted(deferred):
            raise UnprovenError("patching did not reproduce what Hydra composed")


def _within(path: str, leaf: str) -> bool:
    return path == leaf or path.startswith(f"{leaf}.")


def _sweep(config: DictConfig, override: Override) -> _Swept:
    """Apply an override as Hydra does, once, and check that it replaced one leaf."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.errors import HydraException
    from omegaconf.nodes import ValueNode

    path = _proven_path(config, override.key_or_group)
    try:
        ConfigLoaderImpl._apply_overrides_to_config([override], config)
    except HydraException as error:
        raise UnprovenError(f"{override.input_line} is refused") from error
    parent: Any = config
    for key in path[:-1]:
        parent = parent._get_node(key)
    node = parent._get_node(path[-1])
    if not isinstance(node, ValueNode) or node._is_interpolation() or node._is_missing():
        raise UnprovenError(f"{override.key_or_group} is not a plain leaf")
    return _Swept(path, node, _converter(node))


def _proven_path(config: DictConfig, key: str) -> Path:
    """The keys that lead to a leaf through plain mappings only, so that setting it can change nothing else."""
    from omegaconf import DictConfig
    from omegaconf._utils import split_key
    from omegaconf.nodes import ValueNode

    path = tuple(split_key(key))
    node: Any = config
    for part in path:
        if not isinstance(node, DictConfig) or node._is_interpolation() or node._is_none() or node._is_missing():
            raise UnprovenError(f"{key} lies below something that is not a plain mapping")
        content = node.__dict__["_content"]
        if part not in content:
            raise UnprovenError(f"{key} is not in the config")
        node = content[part]
    if not isinstance(node, ValueNode):
        raise UnprovenError(f"{key} is not a leaf")
    return path


def _converter(node: Any) -> Callable[[Any], Any] | None:
    """What a typed leaf makes of a value; None for an untyped one, which takes it as it is."""
    from omegaconf.errors import ValidationError
    from omegaconf.nodes import AnyNode

    if type(node) is AnyNode:
        return None
    optional = node._is_optional()

    def convert(value: Any) -> Any:
        if value is None and not optional:
            raise UnprovenError("a value that its key's type refuses")
        try:
            converted = node.validate_and_convert(value)
        except ValidationError as error:
            raise UnprovenError("a value that its key's type refuses") from error
        return converted

    return convert


def _reference(slot: int, convert: Callable[[Any], Any]) -> Callable[[Values], Any]:
    return lambda values: convert(values[slot])


def _text(parts: Sequence[str | int], convert: Callable[[Any], Any] | None) -> Callable[[Values], Any]:
    def step(values: Values) -> Any:
        words = []
        for part in parts:
            if type(part) is int:
                value = values[part]
                if not isinstance(value, SCALARS):
                    raise UnprovenError("a value inside a text that is not a scalar")
                words.append(str(value))
            else:
                words.append(part)  # type: ignore[arg-type]  # the other kind of part
        text = "".join(words)
        return convert(text) if convert else text

    return step
