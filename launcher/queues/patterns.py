"""Most specs of a sweep differ from one before them in the same leaves. A pattern is the text of such specs with holes
for those leaves: a spec whose text it is needs no comparison, and its fingerprint no encoding of the whole."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher import canonical
from launcher.policy import Retry, timeout
from launcher.queues.packing import Packer, Path, at, unpack
from launcher.slots import Needs
from launcher.spec import lasting, unseen

if TYPE_CHECKING:
    from launcher.spec import LaunchSpec

PATTERNS = 16
"""How many patterns a spec is held against: grids alternate between a handful of group choices."""

PROBE = 24
"""So many characters of what follows a leaf are looked for first: a search for all of them would cost a preparation."""

POLICIES = frozenset({"limits", "resource", "resource_args", "resources", "retry", "timeout"})
"""The fields of a spec that `_policies` reads."""

UNSEEN_BY = frozenset({"fingerprint", "uri"})
"""The fields that decide what else a fingerprint sees."""

_MARK = secrets.token_hex(8)
_MARKS = re.compile(f'"{_MARK}([0-9]+)"'.encode())


class Packed(NamedTuple):
    """What a store keeps of a spec's document: the number of its shape, its values there as JSON, its fingerprint; and
    what it is asked for again and again: attempts, seconds that it may wait, needs as JSON."""

    shape: int
    leaves: str
    fingerprint: str
    max_attempts: int
    queue_seconds: float | None
    needs: str | None


class SpecPacker:
    """Packs specs one after another, through `packer`, which hands out the new bases and shapes.

    >>> from launcher.spec import LaunchSpec
    >>> specs = SpecPacker()
    >>> [specs.pack(LaunchSpec({"lr": lr})).leaves for lr in (0.1, 0.2, 0.3)]
    ['[]', '[0.2]', '[0.3]']
    """

    def __init__(self) -> None:
        self.packer = Packer()
        self._patterns: list[_Pattern] = []

    def pack(self, spec: LaunchSpec) -> Packed:
        """What is kept of a spec."""
        text = _text(spec.document)
        for place, pattern in enumerate(self._patterns):
            if text and (packed := pattern.pack(spec, text)):
                if place:
                    self._patterns.insert(0, self._patterns.pop(place))
                return packed
        number, shape = self.packer.shape(spec.document)
        if text:
            self._patterns = [_Pattern(spec, number, shape.changed), *self._patterns[: PATTERNS - 1]]
        leaves = canonical.encode([at(spec.document, path) for path in shape.changed])
        return Packed(number, leaves, spec.fingerprint(), *_policies(spec.document))


class _Pattern:
    """The text of the specs that differ from `spec` only in the leaves at `changed`, those of the shape `number`."""

    def __init__(self, spec: LaunchSpec, number: int, changed: Sequence[Path]) -> None:
        marks = [f"{_MARK}{place}" for place in range(len(changed))]
        marked = unpack(spec.document, changed, (), marks)
        self._queue = spec.queue_name
        self._number = number
        self._document = _Holes(marked)
        ignored = unseen(spec.document)
        told = all(path[0] not in UNSEEN_BY and not _passes(ignored, path) for path in changed)
        self._lasting = _Holes(lasting(spec.queue_name, marked), sort=True) if told else None
        self._policies = None if any(path[0] in POLICIES for path in changed) else _policies(spec.document)

    def pack(self, spec: LaunchSpec, text: bytes) -> Packed | None:
        """What is kept of a spec with this text; None if it is not of this pattern."""
        leaves = self._document.leaves(text) if spec.queue_name == self._queue else None
        if leaves is None:
            return None
        listed = b"[%b]" % b",".join(leaves)
        if not self._lasting:
            fingerprint = spec.fingerprint()
        elif b"{" in listed:  # maybe an object, whose keys are in no order
            ordered = [canonical.quick(canonical.decode(leaf.decode()), sort=True) for leaf in leaves]
            fingerprint = canonical.digest_text(self._lasting.fill(ordered))
        else:
            fingerprint = canonical.digest_text(self._lasting.fill(leaves))
        return Packed(self._number, listed.decode(), fingerprint, *(self._policies or _policies(spec.document)))


class _Holes:
    """The JSON text of a value in which marks stand for some leaves."""

    def __init__(self, marked: Any, *, sort: bool = False) -> None:
        self._begin, *parts = _MARKS.split(canonical.quick(marked, sort=sort))
        self._places = [int(place) for place in parts[::2]]
        *between, self._end = parts[1::2] or [b""]
        self._between = [(part, part[:PROBE]) for part in between]
        self._order = sorted(range(len(self._places)), key=self._places.__getitem__)
        self._parts = [self._begin, *(text for part in parts[1::2] for text in (b"", part))]

    def leaves(self, text: bytes) -> list[bytes] | None:
        """What is in the holes of this text, by their marks; None if it is another value's. A leaf ends where what
        follows it comes first; that may be within the leaf, and then what was cut off is no JSON."""
        if not self._places:
            return [] if text == self._begin else None
        if not (text.startswith(self._begin) and text.endswith(self._end)):
            return None
        told, place = [], len(self._begin)
        for part, probe in self._between:
            until = text.find(probe, place)
            if not text.startswith(part, until):
                until = text.find(part, place)
            if until < 0:
                return None
            told.append(text[place:until])
            place = until + len(part)
        told.append(text[place : len(text) - len(self._end)])
        return [told[place] for place in self._order] if canonical.are_json(told) else None

    def fill(self, leaves: Sequence[bytes]) -> bytes:
        """The text with these leaves."""
        parts = self._parts.copy()
        parts[1::2] = [leaves[place] for place in self._places]
        return b"".join(parts)


def _text(document: Mapping[str, Any]) -> bytes | None:
    """What patterns are held against; None for a document with integers beyond 64 bits, whose text is another library's
    and differs in its floats."""
    try:
        return canonical.quick(document)
    except TypeError:
        return None


def _passes(ignored: Sequence[Path], path: Path) -> bool:
    """Whether something within the value at `path` is ignored: the fingerprint does not see that value as it is."""
    return any(len(path) < len(other) and other[: len(path)] == path for other in ignored)


def _policies(document: Mapping[str, Any]) -> tuple[int, float | None, str | None]:
    needs = Needs.of(document).row()
    return Retry.of(document).max_attempts, timeout(document, "queue"), canonical.encode(needs) if needs else None
