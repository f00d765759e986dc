"""JSON as text, one way everywhere: compact, digests over sorted keys. Stores, reports and digests call it; orjson does
the work, and the standard library steps in for the integers beyond 64 bits that orjson refuses."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import hashlib

EXACT = frozenset({str, int, float, bool, type(None)})
LONG = b"0" * 19
"""So many digits may be an integer that does not fit into 64 bits: orjson would make a float of it."""

_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def encode(value: Any, *, sort: bool = False) -> str:
    """`value` as compact JSON text; `sort=True` orders the keys of every object.

    Raises TypeError for what is not JSON, half a surrogate pair too, RecursionError for what nests too deeply. NaN,
    infinity and keys that are no text must have been refused before (`schema.problems`), or made text (`finite`).

    >>> encode({"b": 1, "a": [True, None]}, sort=True)
    '{"a":[true,null],"b":1}'
    """
    try:
        return quick(value, sort=sort).decode()
    except TypeError as error:
        if "64-bit" not in str(error):
            raise
    try:
        text = json.dumps(value, sort_keys=sort, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except ValueError as error:  # NaN beside such an integer, or half a surrogate pair
        raise TypeError(f"not JSON: {error}") from error
    return text


def quick(value: Any, *, sort: bool = False) -> bytes:
    """As `encode`, in UTF-8, but TypeError for integers beyond 64 bits too: what passes went through orjson's checks
    alone.

    >>> quick([1, "a"])
    b'[1,"a"]'
    """
    _, dumps, strict, strict_and_sorted = _orjson()
    return dumps(value, None, strict_and_sorted if sort else strict)


@functools.cache
def _orjson() -> tuple[Callable[[str | bytes], Any], Callable[[Any, None, int], bytes], int, int]:
    """What decodes, what encodes, and two sets of options for that; imported at the first use, and looked up once."""
    import orjson

    strict = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
    return orjson.loads, orjson.dumps, strict, strict | orjson.OPT_SORT_KEYS


def plain(value: Any) -> Any:
    """A copy of `value` in JSON's own types, down to its leaves: whatever is a kind of text, number, mapping or list
    (an enum's member, numpy's float, a tuple, an OmegaConf node) becomes just that. Other values stay.

    >>> plain({"a": (1, 2.5)})
    {'a': [1, 2.5]}
    """
    kind = type(value)
    if kind in EXACT:
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    for base in (str, int, float):
        if isinstance(value, base):
            return getattr(base, f"__{base.__name__}__")(value)  # not base(value): a subclass may answer as it likes
    return value


def leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, by their dotted paths.

    >>> dict(leaves({"model": {"name": "svm", "layers": {}}}))
    {'model.name': 'svm', 'model.layers': {}}
    """
    for key, entry in value.items():
        if isinstance(entry, Mapping) and entry:
            yield from leaves(entry, f"{path}{key}.")
        else:
            yield f"{path}{key}", entry


def decode(text: str | bytes) -> Any:
    """The value of JSON text that `encode` wrote; raises ValueError for anything else.

    >>> decode('{"a": 1}')
    {'a': 1}
    """
    try:
        # a regex costs ten times as much
        if isinstance(text, str) and (len(text) < len(LONG) or LONG not in text.encode().translate(_ZEROS)):
            return _orjson()[0](text)
    except ValueError:  # the standard library takes more (NaN), and says better what is wrong
        pass
    return json.loads(text)


def are_json(texts: Iterable[bytes]) -> bool:
    """Whether each of these texts is the JSON of a value.

    >>> are_json([b"1", b'"a"']), are_json([b'"a', b'b"'])
    (True, False)
    """
    loads, *_ = _orjson()
    try:
        for text in texts:
            loads(text)
    except ValueError:
        return False
    return True


def digest(value: Any) -> str:
    """32 hexadecimal digits that are equal exactly for equal JSON values, whatever the order of their keys.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return digest_text(encode(value, sort=True).encode())


def digest_text(text: bytes) -> str:
    """The digest of the value whose JSON text with sorted keys this is."""
    return _sha256()(text).hexdigest()[:32]


@functools.cache
def _sha256() -> Callable[[bytes], hashlib._Hash]:
    """Imported at the first use, and looked up once."""
    import hashlib

    return hashlib.sha256


def finite(value: Any) -> Any:
    """`value` with NaN and infinities, which JSON has not, as the strings that W&B uses for them.

    >>> finite({"loss": float("nan"), "best": float("-inf")})
    {'loss': 'NaN', 'best': '-Infinity'}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value
