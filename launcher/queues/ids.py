"""Run IDs as W&B makes them: 8 random characters."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH = 8
ALIKE = 2
TOGETHER = 10_000
"""So many IDs begin with the same ALIKE characters: they lie on few pages of a large index then, not on many."""

DRAWN = 500
"""IDs that are drawn at a time."""

_BEGINNINGS = tuple(map("".join, itertools.product(ID_ALPHABET, repeat=ALIKE)))
_CHARACTERS = bytes(ID_ALPHABET[byte % len(ID_ALPHABET)].encode()[0] for byte in range(256))


def new_ids() -> Iterator[str]:
    """IDs without end; the first 12 million of them differ.

    >>> len(next(new_ids()))
    8
    """
    own = ID_LENGTH - ALIKE
    for number in itertools.count(int.from_bytes(os.urandom(2))):
        begin = _BEGINNINGS[number % len(_BEGINNINGS)]
        seen: set[str] = set()
        while len(seen) < TOGETHER:
            characters = os.urandom(DRAWN * own).translate(_CHARACTERS).decode()
            for place in range(0, DRAWN * own, own):
                end = characters[place : place + own]
                if end not in seen:
                    seen.add(end)
                    yield begin + end
