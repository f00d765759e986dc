"""What resolvers work with: the store, its users and files, and, for one request, whose it is. Parents of GraphQL
fields are plain dicts with the schema's names, made by the modules beside this one."""

from __future__ import annotations

import base64
import threading
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from launcher import canonical
from launcher.errors import ConflictError, UsageError
from launcher.item import Record
from launcher.queues import Store
from launcher.server.access import Accounts, User
from launcher.server.storage import LONGEST_PART, Storage

TRIES = 20
UNNAMED = "/\\#?%:"
"""What W&B takes in no name either."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A running server. `home`: the entity of the queues that name none."""

    store: Store
    accounts: Accounts
    storage: Storage
    home: str
    writing: threading.Lock = field(default_factory=threading.Lock)
    """Held while a queue is changed: SQLite lets one writer in at a time, and who waits for it there sleeps."""

    def change(
        self, kind: str, key: str, change: Callable[[Mapping[str, Any] | None], Mapping[str, Any] | None]
    ) -> Any:
        """Change a record, or add it, by a function of its value (None: not there) that gives the new one (None: leave
        it), and may be called again when somebody else changes it meanwhile. Returns the new value."""
        for _ in range(TRIES):
            found = self.store.record(kind, key)
            value = change(found.value if found else None)
            if value is None:
                return found.value if found else None
            try:
                with self.writing:
                    if self.store.keep_record(kind, key, value, found.revision if found else 0):
                        return value
            except TypeError as error:  # nested too deeply, or half a surrogate pair
                raise UsageError(f"{kind} {key!r} cannot be kept as JSON: {error}") from error
        raise ConflictError(f"{kind} {key!r} is being changed by many at once; try again")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: whose it is, and the address at which the client sees the server."""

    desk: Desk
    user: User
    base: str
    memory: dict[Any, Any] = field(default_factory=dict)

    def entity(self, name: str | None, role: str = "viewer") -> str:
        """The entity that a request names, else its user's. AccessError for one that the user may not see or change."""
        entity = name or self.user.entity
        self.user.check(entity, role)
        return entity


def project_name(name: str | None) -> str:
    """A project's name; W&B's own where none is given. UsageError for one that cannot be part of a path."""
    return checked(name or "uncategorized", "project")


def checked(name: str, what: str, longest: int = 128) -> str:
    """A name that is part of records' keys and of paths. UsageError for others."""
    plain = name.strip(". ") and name.isprintable() and not any(letter in UNNAMED for letter in name)
    if not plain or len(name) > longest or len(name.encode()) > LONGEST_PART:
        raise UsageError(
            f"{what} {name[:80]!r} is no name; expected at most {longest} characters ({LONGEST_PART} bytes), none of "
            f"{' '.join(UNNAMED)}"
        )
    return name


def parsed(text: str | None, what: str, kind: type = dict) -> Any:
    """The value of a JSONString argument; UsageError for what is no JSON, or of another type."""
    if not text:
        return None
    value: Any = None
    with suppress(ValueError, RecursionError, TypeError):
        found = canonical.decode(text)
        if "\\u" in text:
            canonical.encode(found)  # half a surrogate pair is no text
        value = found
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"{what} holds {type(value).__name__}, expected JSON of an object")
    if value is None and text.strip() != "null":
        raise UsageError(f"{what} is no JSON: {text[:80]!r}")
    return value


def moment(seconds: float | None) -> str | None:
    """A time (seconds since the epoch) as GraphQL gives it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def storage_id(kind: str, *parts: str) -> str:
    """An ID that names a thing by its parts, in W&B's form.

    >>> parts_of(storage_id("Run", "team", "vision", "k3"), "Run", 3)
    ['team', 'vision', 'k3']
    """
    return base64.urlsafe_b64encode(":".join([kind, *parts]).encode()).decode()


def parts_of(given: str, kind: str, number: int) -> list[str]:
    """The parts of an ID of this kind; UsageError for any other text."""
    with suppress(ValueError):
        found, *parts = base64.urlsafe_b64decode(given.encode()).decode().split(":", number)
        if found == kind and len(parts) == number:
            return parts
    raise UsageError(f"{given[:80]!r} is no ID of a {kind}")


def file_node(ask: Ask, entity: str, name: str, relative: str, more: Mapping[str, Any] = {}) -> dict[str, Any]:
    """A GraphQL File of an entity. Where it can be uploaded is told to members only: such an address needs no key."""
    storage = ask.desk.storage

    def upload(_: Any) -> str:
        ask.user.check(entity, "member")
        return storage.url(ask.base, relative, "PUT")

    return {
        "id": relative,
        "name": name,
        "displayName": name,
        "relative": relative,
        "url": lambda info, **given: upload(info) if given.get("upload") else storage.url(ask.base, relative),
        "directUrl": lambda _: storage.url(ask.base, relative),
        "uploadUrl": upload,
        "uploadHeaders": (),
        "sizeBytes": lambda _: storage.size(relative) or 0,
        **more,
    }


def project_number(entity: str, project: str) -> str:
    """A project's number, which W&B's client wants beside its ID."""
    return str(zlib.crc32(f"{entity}/{project}".encode()))


def page(entries: list[Any], after: str | None, first: int | None, cursor: Callable[[Any], str]) -> dict[str, Any]:
    """A connection over entries: those after the one with this cursor, at most `first`."""
    start = 0
    if after:
        start = next((place + 1 for place, entry in enumerate(entries) if cursor(entry) == after), len(entries))
    shown = entries[start:] if first is None else entries[start : start + max(first, 0)]
    more = start + len(shown) < len(entries)
    return {
        "edges": [{"node": entry, "cursor": cursor(entry)} for entry in shown],
        "pageInfo": {"endCursor": cursor(shown[-1]) if shown else None, "hasNextPage": more},
        "totalCount": len(entries),
    }


def value_of(record: Record | None) -> Mapping[str, Any] | None:
    """A record's value, if there is one."""
    return record.value if record else None
