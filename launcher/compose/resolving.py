"""A composed config becomes a plain dict: every interpolation resolved, except those that only the running app can
resolve, and the macros of the `launch` node, which are not interpolations at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from launcher.errors import ComposeError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from omegaconf.base import Node

LAUNCH_NODE = "launch"
MISSING = "???"
DEEPEST = 100
"""Containers inside each other. A config that is nested deeper than this makes itself anew without an end."""
WRITTEN = "_launcher_written"
"""Where a leaf whose macros were escaped keeps the text it had, for the case that it is deferred."""


def plain_config(config: DictConfig) -> tuple[dict[str, Any], tuple[str, ...]]:
    """`config` as a plain dict, and the dotted paths of its deferred leaves, which keep their raw text.

    Raises ComposeError that lists every leaf whose interpolation is wrong.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    _keep_macros(config)
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException:
        return _leaf_by_leaf(config)
    assert isinstance(plain, dict)
    return cast(dict[str, Any], plain), tuple(_missing(plain, ()))


def _keep_macros(config: DictConfig) -> None:
    """Escape `${name}` in the `launch` node where `name` is a macro, or no key of the config (then a macro from the
    agent's environment), so that OmegaConf leaves it as written."""
    from omegaconf import DictConfig, flag_override

    from launcher.template import ARGUMENT_MACROS, MACRO, MACROS

    keys = set(config.keys())
    launch = config._get_node(LAUNCH_NODE) if LAUNCH_NODE in keys else None
    if not isinstance(launch, DictConfig) or launch._is_none() or launch._is_interpolation():
        return
    literal = {*MACROS, *ARGUMENT_MACROS}

    def escape(match: re.Match[str]) -> str:
        name = match[1]
        escaped = match.start() > 0 and match.string[match.start() - 1] == "\\"
        return match[0] if escaped or (name not in literal and name in keys) else "\\" + match[0]

    with flag_override(launch, "readonly", False):
        for node in _leaves(launch):
            value = node._value()
            if isinstance(value, str) and "${" in value:
                node._set_value(MACRO.sub(escape, value))
                node.__dict__.setdefault(WRITTEN, value)


def _leaves(node: Node) -> Iterator[Any]:
    from omegaconf import DictConfig, ListConfig

    if isinstance(node, DictConfig | ListConfig):
        if node._is_none() or node._is_interpolation() or node._is_missing():
            return
        keys: Any = node.keys() if isinstance(node, DictConfig) else range(len(node))
        for key in keys:
            yield from _leaves(node._get_node(key))  # type: ignore[arg-type]
    else:
        yield node


def _missing(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, str):
        if value == MISSING:
            yield ".".join(path)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _missing(entry, (*path, str(key)))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _missing(entry, (*path, str(index)))


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _leaf_by_leaf(config: DictConfig) -> tuple[dict[str, Any], tuple[str, ...]]:
    deferred: list[str] = []
    problems: list[str] = []
    plain = convert_node(config, (), deferred, problems)
    if problems:
        raise _unresolved(problems)
    return plain, tuple(deferred)


def _unresolved(problems: list[str]) -> ComposeError:
    return ComposeError("interpolations that do not resolve:\n" + "\n".join(f"  {line}" for line in problems))


def convert_node(
    node: Node, path: tuple[Any, ...], deferred: list[str], problems: list[str], within: tuple[Node, ...] = ()
) -> Any:
    """What OmegaConf.to_container(resolve=True) makes of `node`, except that a failing leaf does not end it.

    `within` holds the containers that are being converted. Raises ComposeError for one that refers to itself.
    """
    from omegaconf import DictConfig, ListConfig
    from omegaconf.base import Node, UnionNode
    from omegaconf.errors import OmegaConfBaseException

    try:
        resolved: Any = node._dereference_node()
    except OmegaConfBaseException as error:
        if not _only_the_app_can_resolve(error):
            endless = "maximum recursion depth exceeded" in str(error)
            reason = "it refers to itself, without an end" if endless else str(error).splitlines()[0]
            problems.append(f"{_dotted(path)}: {node._value()!r}: {reason}")
        deferred.append(_dotted(path))
        return node.__dict__.get(WRITTEN, node._value())
    if isinstance(resolved, UnionNode) and not resolved._is_missing():
        resolved = resolved._value()  # the leaf in it
    if resolved is None:
        return None
    if not isinstance(resolved, DictConfig | ListConfig) or resolved._is_none() or resolved._is_missing():
        value = MISSING if resolved._is_missing() else resolved._value()
        if value == MISSING:
            deferred.append(_dotted(path))
        return value
    if len(within) == DEEPEST or any(resolved is container for container in within):
        # At once: a container that is made anew at each level, twice, would take 2^DEEPEST steps to go on with.
        where = _dotted(path if len(path) < 8 else (*path[:4], "…"))
        raise _unresolved([*problems, f"{where}: {node._value()!r}: the config refers to itself, without an end"])
    inside = (*within, resolved)

    def convert(key: Any) -> Any:
        child = resolved._get_node(key)
        assert isinstance(child, Node)
        return convert_node(child, (*path, str(key)), deferred, problems, inside)

    if isinstance(resolved, DictConfig):
        return {key: convert(key) for key in resolved.keys()}
    return [convert(index) for index in range(len(resolved))]


def _only_the_app_can_resolve(error: BaseException) -> bool:
    """True for a resolver not registered here, for `${hydra:…}` outside of a run, and for a reference to `???`."""
    from omegaconf.errors import InterpolationToMissingValueError, UnsupportedInterpolationType

    if isinstance(error, InterpolationToMissingValueError | UnsupportedInterpolationType):
        return True
    return "HydraConfig was not set" in str(error)
