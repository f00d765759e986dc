"""Who may do what: users with a role in each of their entities, known by an API key of which only a hash is stored.
`launcher user` makes them; the server asks for every request."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from launcher.errors import AccessError, ConflictError, NotFoundError, UsageError, suggest
from launcher.queues import Store

ROLES = ("viewer", "member", "admin")
"""viewer: reads. member: adds items, runs them, makes jobs and queues. admin: changes and deletes queues, too."""

KEY = re.compile(r"(?:[A-Za-z0-9_]{1,64}-)?[A-Za-z0-9_-]{40,128}")
KEY_LENGTH = 40
"""Clients up to 0.18 take no other."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
KIND = "user"
REFRESH_SECONDS = 1.0
"""How soon a running server hears of users that were added or revoked."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a key. `roles`: by entity; the first one is where things go that name none."""

    name: str
    roles: Mapping[str, str]
    created_at: float = 0.0

    @property
    def entity(self) -> str:
        """The entity of what names none."""
        return next(iter(self.roles))

    def check(self, entity: str, role: str = "member") -> None:
        """AccessError unless this user has at least that role in the entity. Whether the entity exists is not told."""
        own = self.roles.get(entity)
        if own is None:
            raise AccessError(f"permission denied: {self.name!r} has no access to entity {entity!r}")
        if ROLES.index(own) < ROLES.index(role):
            raise AccessError(f"permission denied: {self.name!r} is {own} of entity {entity!r}, which needs {role}")


def hash_of(key: str) -> str:
    """What is stored of a key: 240 random bits need no slow hash, and none can be guessed from it."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_this_machine(host: str) -> bool:
    """Whether a Host header names this machine by an address of its own, with or without a port; what is no proper name
    does not. A web page may give its own name this machine's address (DNS rebinding), and then ask as if it were ours.

    >>> [is_this_machine(host) for host in ("LocalHost:8080", "[::1]:8080", "evil.example", "", "localhost@evil")]
    [True, True, False, False, False]
    """
    try:
        parts = urlsplit(f"//{host}")
        if parts.netloc != host or parts.username is not None:
            return False
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def of_another_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser sent a request, with these headers, for a page of another site. Programs send none of these.

    >>> of_another_site({"host": "here:1", "origin": "http://HERE:1"}), of_another_site({"host": "here:1"})
    (False, False)
    >>> of_another_site({"host": "here:1", "origin": "http://evil"}), of_another_site({"sec-fetch-site": "cross-site"})
    (True, True)
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    if origin is not None and origin.lower().partition("://")[2] != headers.get("host", "").lower():
        return True
    return site not in ("same-origin", "none")


def parse_roles(given: Sequence[str], name: str) -> dict[str, str]:
    """Roles by entity from texts `ENTITY` (as a member) and `ENTITY:ROLE`; without any, the user's own entity.

    >>> parse_roles(["vision", "lab:viewer"], "ann")
    {'vision': 'member', 'lab': 'viewer'}
    """
    roles: dict[str, str] = {}
    for text in given or [f"{name}:admin"]:
        entity, _, role = text.partition(":")
        if not NAME.fullmatch(entity):
            raise UsageError(f"entity {entity!r} is none; expected letters, digits, '.', '_', '-', at most 64 of them")
        if (role or "member") not in ROLES:
            raise UsageError(f"role {role!r} is unknown; {suggest(role, ROLES)}")
        roles[entity] = role or "member"
    return roles


def add_user(store: Store, name: str, roles: Mapping[str, str]) -> str:
    """Add a user; returns the key, which nobody can read again. ConflictError for a name that is taken."""
    if not NAME.fullmatch(name):
        raise UsageError(f"user name {name!r} is none; expected letters, digits, '.', '_', '-', at most 64 of them")
    key = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(KEY_LENGTH))
    entities = [[entity, role] for entity, role in roles.items()]
    value = {"hash": hash_of(key), "roles": entities, "created_at": time.time()}
    if not store.keep_record(KIND, name, value):
        raise ConflictError(f"user {name!r} exists already; revoke the key first: launcher user revoke {name}")
    return key


def users(store: Store) -> dict[str, User]:
    """All users, by the hashes of their keys."""
    return {
        record.value["hash"]: User(record.key, dict(record.value["roles"]), record.value["created_at"])
        for record in store.records(KIND)
    }


def revoke(store: Store, name: str) -> None:
    """Forget a user, and the key with it; NotFoundError if there is none."""
    if not store.drop_record(KIND, name):
        known = suggest(name, [user.name for user in users(store).values()])
        raise NotFoundError(f"no user named {name!r}; {known}")


@dataclass(slots=True)
class Accounts:
    """The users of a running server. While it is `open`, for there were none when it began nor since, `everybody` may
    do everything: only a server that nobody else can reach starts like that."""

    store: Store
    everybody: User
    open: bool
    _known: dict[str, User] = field(default_factory=dict)
    _read_at: float = -REFRESH_SECONDS

    @staticmethod
    def of(store: Store, everybody: User) -> Accounts:
        """The users of a server that begins now."""
        return Accounts(store, everybody, open=not users(store))

    @property
    def stale(self) -> bool:
        """Whether the users are to be read again before somebody is let in."""
        return time.monotonic() >= self._read_at + REFRESH_SECONDS

    def read(self) -> None:
        """Read the users."""
        self._known = users(self.store)
        self._read_at = time.monotonic()
        self.open = self.open and not self._known  # revoking the last key opens nothing

    def user(self, key: str | None) -> User:
        """The user with this key. AccessError where there is none."""
        if not key:
            raise AccessError("API key missing: user is not logged in; set WANDB_API_KEY, or: wandb login --host")
        if not KEY.fullmatch(key):
            raise AccessError("API key invalid: expected at least 40 letters, digits, '_' and '-'")
        self._refresh()
        found = self._known.get(hash_of(key))
        if found:
            return found
        if self.open:
            return self.everybody
        raise AccessError("API key invalid or revoked: user is not logged in; ask for: launcher user add")

    def of_hash(self, digest: str | None) -> User | None:
        """The user of a key's hash, None where there is none; everybody, while there are no users."""
        self._refresh()
        return self.everybody if self.open else self._known.get(digest or "")

    def _refresh(self) -> None:
        if self.stale:
            self.read()
