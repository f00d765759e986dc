"""What launcher was told to write of a store, among whatever code: tables, pictures, backups. It is remembered beside
the store, so that none of it is taken for code that changed."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from launcher.settings import written_list


def written_files(url: str) -> list[Path]:
    """The files that were written, those that are still as launcher left them."""
    try:
        known = [json.loads(line) for line in written_list(url).read_text(encoding="utf-8").splitlines()]
        return [Path(path) for path, *stamp in known if _stamp(Path(path)) == stamp]
    except (OSError, ValueError):  # nothing was written, or the list is damaged
        return []


def remember_written(url: str, file: Path) -> None:
    """Note that launcher has just written this file."""
    files = dict.fromkeys([*written_files(url), file.resolve()])
    with suppress(OSError):  # the file is there, and that is what was asked for
        written_list(url).parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps([str(path), *_stamp(path)]) for path in files]
        written_list(url).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _stamp(file: Path) -> list[int]:
    """What changes when a file is written again; nothing for one that is not there."""
    try:
        status = file.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
