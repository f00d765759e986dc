"""The logs of runs, a part at a time by byte offsets, so that a log of a gigabyte costs as little as a short one: the
pages of one, its live tail, its download."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from markupsafe import Markup

from launcher.errors import NotFoundError
from launcher.item import Item
from launcher.paths import RunPaths
from launcher.web.ansi import Painter

PAGE = 1 << 16
"""Bytes of a log that are shown at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of a log from `start` to `end`, of `size` in all, as text; whole lines, as far as they fit."""

    text: str
    start: int
    end: int
    size: int

    @property
    def before(self) -> int | None:
        """Where the page before begins; None at the log's beginning."""
        return max(0, self.start - PAGE) if self.start else None

    @property
    def after(self) -> int | None:
        """Where the page after begins; None at the log's end."""
        return self.end if self.end < self.size else None


@contextmanager
def opened(run_dir: str | None) -> Iterator[BinaryIO]:
    """The log of the run in this folder; NotFoundError where none is on this machine. A link is not followed: a run
    could let it lead to any file that the server may read."""
    path = RunPaths(Path(run_dir)).log if run_dir else None
    try:
        if path is None:
            raise FileNotFoundError
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = "the run has written none yet" if path is None else f"{path}: {error.strerror}"
        raise NotFoundError(f"no log here ({why}); it lies on the machine that the run ran on") from error
    with os.fdopen(number, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise NotFoundError(f"{path} is no file")
        yield file


def read(file: BinaryIO, start: int, most: int = PAGE) -> Part:
    """At most `most` bytes from an offset on: up to the end of a line, unless one line is longer."""
    size = os.fstat(file.fileno()).st_size
    start = min(max(start, 0), size)
    file.seek(start)
    content = file.read(most)
    if len(content) == most:
        content = content[: content.rfind(b"\n") + 1] or _whole_letters(content)
    return Part(content.decode("utf-8", "replace"), start, start + len(content), size)


def page(file: BinaryIO, start: int) -> Part:
    """A page that begins with the first whole line after an offset (at it, where a line begins there)."""
    size = os.fstat(file.fileno()).st_size  # far beyond it, no file system seeks
    return read(file, _line_start(file, min(start, size)))


def tail(file: BinaryIO) -> Part:
    """The last page of a log."""
    size = os.fstat(file.fileno()).st_size
    found = page(file, size - PAGE)
    if found.end < size:  # the last line has no end yet
        file.seek(found.end)
        rest = _whole_letters(file.read(PAGE))
        found = Part(found.text + rest.decode("utf-8", "replace"), found.start, found.end + len(rest), size)
    return found


def grown(file: BinaryIO, start: int) -> Part:
    """What a log has more than it had: what came after an offset; of very much, its last page."""
    size = os.fstat(file.fileno()).st_size
    if size < start or size - start > PAGE:
        return tail(file)
    file.seek(start)
    content = _whole_letters(file.read(PAGE))
    return Part(content.decode("utf-8", "replace"), start, start + len(content), size)


def _line_start(file: BinaryIO, offset: int) -> int:
    """The offset of the first line that begins at an offset or, as far as a page, after it; else the offset."""
    if offset <= 0:
        return 0
    file.seek(offset - 1)
    end = file.read(PAGE // 2).find(b"\n")
    return offset + end if end >= 0 else offset


def _whole_letters(content: bytes) -> bytes:
    """Without the beginning of a letter of several bytes at its end."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return content[:-back] if length > back else content
        if byte < 0x80:
            break
    return content


def painted(text: str) -> Markup:
    """A log's text as HTML."""
    return Markup(Painter().html(text))  # noqa: S704 - the painter escapes


def last_part(item: Item) -> dict[str, Any] | None:
    """The end of an item's log for its page, and the place after it; None where there is none yet, or not here."""
    try:
        with opened(item.run_dir) as file:
            part = tail(file)
    except NotFoundError:
        return None
    return {"html": painted(part.text), "place": f"{item.attempt}:{part.end}", "size": part.size, "start": part.start}


def last_lines(run_dir: str | None, most: int) -> Markup:
    """The last lines of a log that are not empty, as HTML; nothing where there is none, or not here."""
    try:
        with opened(run_dir) as file:
            lines = tail(file).text.split("\n")
    except NotFoundError:
        return Markup("")
    return painted("\n".join([line.rstrip() for line in lines if line.strip()][-most:]))
