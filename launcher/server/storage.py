"""The files that the server keeps below one folder: what runs upload, their console logs, blobs of artifacts. A client
gets addresses that are signed for one file, one verb and a time, so that uploads need no key, as W&B's do not."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from launcher.errors import AccessError, NotFoundError, StoreFullError, UsageError
from launcher.queues import Store

VALID_SECONDS = 24 * 3600.0
LONGEST_NAME = 512
LONGEST_PART = 200
LONGEST_LINE = 8 << 20
LARGEST_FILE = 10 << 30
KIND = "secret"


def file_name(name: str) -> PurePosixPath:
    """The relative path that a client names; UsageError for one that leads elsewhere.

    >>> file_name("media/images/a.png").parts
    ('media', 'images', 'a.png')
    """
    parts = name.split("/")
    wrong = not name or len(name) > LONGEST_NAME or "\\" in name or not name.isprintable()
    if wrong or any(part in ("", ".", "..") or len(part.encode()) > LONGEST_PART for part in parts):
        raise UsageError(f"file name {name[:80]!r} is none; expected a relative path without '..', as media/a.png")
    return PurePosixPath(*parts)


@dataclass(frozen=True, slots=True)
class Storage:
    """The files below `root`; `secret` signs their addresses."""

    root: Path
    secret: bytes

    @staticmethod
    def of(store: Store, root: Path) -> Storage:
        """The storage of a store's servers, which share its secret."""
        store.keep_record(KIND, "storage", {"key": secrets.token_hex(32)})
        record = store.record(KIND, "storage")
        assert record
        return Storage(root, bytes.fromhex(record.value["key"]))

    def run_file(self, entity: str, project: str, run: str, name: str) -> str:
        """The path of a run's file, relative to the root."""
        return str(PurePosixPath("runs", entity, project, run) / file_name(name))

    def blob(self, entity: str, digest: str) -> str:
        """The path of the content with this MD5 (base64, or 32 hexadecimal digits), each entity's apart."""
        return f"blobs/{entity}/{hexadecimal(digest)}"

    def manifest(self, artifact: str) -> str:
        """The path of an artifact's manifest."""
        return f"manifests/{hashlib.sha256(artifact.encode()).hexdigest()}.json"

    def path(self, relative: str) -> Path:
        """Where a file lies."""
        return self.root / file_name(relative)

    def size(self, relative: str) -> int | None:
        """How many bytes a file has; None if there is none."""
        with suppress(OSError):
            return self.path(relative).stat().st_size
        return None

    def read(self, relative: str) -> bytes:
        """A file's content; NotFoundError if there is none."""
        try:
            return self.path(relative).read_bytes()
        except OSError as error:
            raise NotFoundError(f"no file {relative!r} was uploaded") from error

    def url(self, base: str, relative: str, verb: str = "GET") -> str:
        """An address for one file and verb."""
        until = int(time.time() + VALID_SECONDS)
        return f"{base}/storage/{self._sign(verb, relative, until)}.{until}/{quote(relative)}"

    def _sign(self, verb: str, relative: str, until: int) -> str:
        return hmac.new(self.secret, f"{verb} {until} {relative}".encode(), "sha256").hexdigest()

    def check(self, ticket: str, relative: str, verb: str) -> None:
        """AccessError unless this is the ticket of an address that `url` gave."""
        given, _, until = ticket.partition(".")
        if not until.isascii() or not until.isdigit() or len(until) > len(str(int(time.time()))) + 1:
            raise AccessError("this address is not one that the server gave")
        if not hmac.compare_digest(given.encode(), self._sign(verb, relative, int(until)).encode()):
            raise AccessError("this address is not one that the server gave")
        if time.time() > int(until):
            raise AccessError("this address is no longer valid; ask for another one")

    async def receive(self, relative: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a file from chunks; it appears when it is whole, and, if it is named by its MD5, true to that. Returns
        its size."""
        target = self.path(relative)
        with writing(relative):
            target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{secrets.token_hex(8)}.partial")
        seen, size = hashlib.md5(usedforsecurity=False), 0
        try:
            with writing(relative), partial.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > LARGEST_FILE:
                        raise UsageError(f"the file is larger than {LARGEST_FILE:,} bytes")
                    seen.update(chunk)
                    file.write(chunk)
            if relative.startswith("blobs/") and seen.hexdigest() != target.name:
                raise UsageError(f"the content's MD5 is {seen.hexdigest()}, expected {target.name}; upload it again")
            with writing(relative):
                partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return size


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Where a file is written: UsageError for a name that is a folder's, or lies below a file; StoreFullError where
    no room is left."""
    try:
        yield
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageError(f"{name!r} cannot be a file: a part of that path is one, or it is a folder") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreFullError(f"no room left for {name!r} on the server's disk") from error


def hexadecimal(digest: str) -> str:
    """An MD5 in hexadecimal digits, from these or from base64; UsageError for what is none."""
    with suppress(ValueError):
        if len(digest) == 32:
            return bytes.fromhex(digest).hex()
        if len(found := base64.b64decode(digest, validate=True)) == 16:
            return found.hex()
    raise UsageError(f"{digest[:80]!r} is no MD5, in base64 or hexadecimal digits")


def lines_of(path: Path) -> Sequence[bytes]:
    """The lines of a file; none where there is no file. What a carriage return divides is one line, as it was told."""
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError:
        return ()
    return [*lines, last] if last else lines


def last_line(path: Path) -> bytes:
    """The last line of a file, of at most LONGEST_LINE bytes; nothing where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_LINE))
            return file.read().removesuffix(b"\n").rpartition(b"\n")[2]
    except OSError:
        return b""
