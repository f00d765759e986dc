"""JSON as text, one way everywhere: compact, digests over sorted keys. Stores, reports and digests call it; orjson does
the work, and the standard library steps in for the integers beyond 64 bits that orjson refuses."""

from __future__ import annotations

import json
import math
from typing import Any


def encode(value: Any, *, sort: bool = False) -> str:
    """`value` as compact JSON text; `sort=True` orders the keys of every object.

    Raises TypeError for what is not JSON. NaN and infinity must have been refused before (`schema.not_json`).

    >>> encode({"b": 1, "a": [True, None]}, sort=True)
    '{"a":[true,null],"b":1}'
    """
    import orjson

    try:
        plain = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
        return orjson.dumps(value, option=plain | (orjson.OPT_SORT_KEYS if sort else 0)).decode()
    except TypeError as error:
        if "64-bit" not in str(error):
            raise
        return json.dumps(value, sort_keys=sort, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def decode(text: str | bytes) -> Any:
    """The value of JSON text that `encode` wrote; raises ValueError for anything else.

    >>> decode('{"a": 1}')
    {'a': 1}
    """
    return json.loads(text)


def digest(value: Any) -> str:
    """32 hexadecimal digits that are equal exactly for equal JSON values, whatever the order of their keys.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    import hashlib

    return hashlib.sha256(encode(value, sort=True).encode()).hexdigest()[:32]


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
