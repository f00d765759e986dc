"""What the interpolations of a composed config say, read through OmegaConf's own grammar: which leaves have one,
whether it calls a resolver that may answer differently each time, and the leaves it refers to, with the text around."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf.base import Container, Node

Path = tuple[Any, ...]

PURE = frozenset({
    "oc.env", "oc.select", "oc.decode", "oc.dict.keys", "oc.dict.values", "oc.create", "hydra", "now", "python_version",
})  # fmt: skip
"""Resolvers whose result depends on nothing but their arguments and the nodes they read, within one sweep."""

INTERPOLATION = re.compile(r"\$\{(?:(?P<resolver>[\w.]+):|[\w.\[\]/-]+\})?")
MARK = "\0"
"""Stands around the number of a reference in the text that OmegaConf's visitor makes; a leaf with it is not read."""


class _OtherFormError(Exception):
    """The interpolation is of a form that only OmegaConf evaluates."""


def interpolated(node: Any, path: Path) -> Iterator[tuple[Path, Node]]:
    """The leaves below `node` whose value is an interpolation."""
    from omegaconf import DictConfig, ListConfig

    if node._is_interpolation():
        yield path, node
    elif isinstance(node, DictConfig | ListConfig) and not node._is_none() and not node._is_missing():
        content = node.__dict__["_content"]
        for key, child in content.items() if isinstance(content, dict) else enumerate(content):
            yield from interpolated(child, (*path, key))


def impure(node: Node) -> bool:
    """Whether an interpolation calls a resolver that is not known to be pure."""
    for match in INTERPOLATION.finditer(str(node._value())):
        if match[0] == "${" or (match["resolver"] and match["resolver"] not in PURE):
            return True
    return False


def template(node: Any) -> list[str | Node] | None:
    """An interpolation's texts and the leaves it refers to, in order; None for what only OmegaConf can evaluate.

    `${a.b}`, `${.a}` and `${oc.select:a.b,…}` of a leaf that is there are such references, also inside a text.
    OmegaConf's own visitor reads the grammar (so escapes are its business); references are marks in its text.
    """
    from omegaconf.grammar_parser import parse
    from omegaconf.grammar_visitor import GrammarVisitor
    from omegaconf.nodes import ValueNode

    parent = node._get_parent_container()
    if not isinstance(node, ValueNode) or parent is None or MARK in str(node._value()):
        return None
    targets: list[Node] = []

    def reference(key: str, _: Any) -> Any:
        target = None if MARK in key else locate(parent, key)
        if target is None:
            raise _OtherFormError
        targets.append(target)
        return f"{MARK}{len(targets) - 1}{MARK}"

    def resolver(name: str, args: tuple[Any, ...], **_: Any) -> Any:
        if name == "oc.select" and args and isinstance(args[0], str):
            return reference(args[0], None)
        raise _OtherFormError

    visitor = GrammarVisitor(node_interpolation_callback=reference, resolver_interpolation_callback=resolver, memo=None)
    try:
        text = visitor.visit(parse(node._value()))
    except _OtherFormError:
        return None
    pieces = str(text).split(MARK)
    parts = [targets[int(piece)] if place % 2 else piece for place, piece in enumerate(pieces)]
    return [part for part in parts if not (isinstance(part, str) and part == "")]


def locate(container: Container, key: str) -> Node | None:
    """The leaf that `${key}` means inside `container`; None when it is not there or lies behind an interpolation."""
    from omegaconf import DictConfig, ListConfig
    from omegaconf._utils import split_key
    from omegaconf.errors import ConfigKeyError
    from omegaconf.nodes import ValueNode

    try:
        found, rest = container._resolve_key_and_root(key)
    except ConfigKeyError:
        return None
    node: Any = found
    for part in split_key(rest):
        if not isinstance(node, DictConfig | ListConfig):
            return None
        if node._is_interpolation() or node._is_none() or node._is_missing():
            return None
        content = node.__dict__["_content"]
        if isinstance(content, dict):
            node = content.get(part)
        else:
            node = content[int(part)] if part.isdecimal() and int(part) < len(content) else None
    return node if isinstance(node, ValueNode) and not node._is_missing() else None
