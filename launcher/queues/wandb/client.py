"""GraphQL over HTTP, as W&B's servers take it: kept-alive connections, one login check a process, rate limits honoured,
and a clear word for a request of which nobody knows whether it was carried out. The store `wandb` calls it."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from launcher import canonical
from launcher.errors import AccessError, StoreError

IN_FLIGHT = 8
"""Requests under way at a time."""

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and to wait for a reply."""

TRIES = 8
LONGEST_PAUSE = 30.0
ITEM_ID_IS_RUN_ID = "LAUNCHER_ITEM_ID_IS_RUN_ID"
LEASES = "LAUNCHER_LEASES"
"""What `launcher serve` tells of itself among its features."""


class LostReplyError(StoreError):
    """A request was sent and not answered: it may have been carried out."""


class RefusedError(StoreError):
    """The server refuses; `errors` are GraphQL's, `data` is what it answered nevertheless."""

    def __init__(
        self, message: str, errors: Sequence[Mapping[str, Any]], data: Mapping[str, Any] | None, status: int = 200
    ) -> None:
        super().__init__(message)
        self.errors = errors
        self.data = data or {}
        self.status = status

    def at(self, path: str) -> str | None:
        """What is wrong with the field of this name, None if nothing is; what is wrong with all goes for each."""
        own = [str(error.get("message")) for error in self.errors if (error.get("path") or [path])[0] == path]
        return "\n".join(own) or None

    @property
    def whole(self) -> bool:
        """Whether the document was refused, not what one of its fields asks for."""
        return not any(error.get("path") for error in self.errors)


def api_key(host: str) -> str:
    """The key for a host: WANDB_API_KEY, else netrc's. AccessError where there is none."""
    key = os.environ.get("WANDB_API_KEY")
    if not key:
        from requests.utils import get_netrc_auth

        found = get_netrc_auth(f"https://{host}")
        key = found[1] if found else None
    if not key:
        raise AccessError(f"no API key for {host}; set WANDB_API_KEY, or: wandb login --host https://{host}")
    return key


@dataclass(slots=True)
class Client:
    """A connection to one server. `base` is its address; threads may ask at once."""

    base: str
    key: str = field(repr=False)
    session: Any = field(repr=False, default=None)
    _viewer: Mapping[str, Any] | None = None
    _features: frozenset[str] = frozenset()
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _not_before: float = 0.0

    def __post_init__(self) -> None:
        import requests
        from requests.adapters import HTTPAdapter

        self.session = requests.Session()
        self.session.trust_env = False  # the key is ours to choose, and netrc would win over it
        self.session.mount(self.base, HTTPAdapter(pool_connections=1, pool_maxsize=2 * IN_FLIGHT))
        self.session.auth = ("api", self.key)
        self.session.headers["Content-Type"] = "application/json"

    def login(self) -> Mapping[str, Any]:
        """Who the key belongs to, asked for once. AccessError for a key that is none."""
        with self._lock:
            if self._viewer is None:
                data = self.ask("query Viewer { viewer { id entity username teams { edges { node { name } } } } }")
                if not data.get("viewer"):
                    raise AccessError(f"{self.base} does not know this API key; check WANDB_API_KEY")
                with suppress(RefusedError):
                    told = self.ask("query ServerFeaturesQuery { serverInfo { features { name isEnabled } } }")
                    features = (told.get("serverInfo") or {}).get("features") or ()
                    self._features = frozenset(each["name"] for each in features if each["isEnabled"])
                self._viewer = data["viewer"]
            return self._viewer

    @property
    def ours(self) -> bool:
        """Whether the server is `launcher serve`."""
        self.login()
        return ITEM_ID_IS_RUN_ID in self._features

    @property
    def leases(self) -> bool:
        """Whether the server gives agents of ours leases with a token."""
        self.login()
        return LEASES in self._features

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a query, or of a mutation that may be carried out twice; tried again while replies are lost.

        Raises RefusedError with the server's own text, AccessError for a key or role that does not do.
        """
        return _patiently(lambda: self.once(query, **variables))

    def once(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a request that is sent once, and again only where the server says that it did nothing: after a
        rate limit. LostReplyError when it was sent and no answer of the server's came."""
        told = self._sent("graphql", {"query": query, "variables": variables})
        data = told.get("data")
        if not isinstance(data, dict):
            raise RefusedError(f"{self.base} answers no GraphQL", (), None)
        return data

    def stream(self, run: Sequence[str], body: Mapping[str, Any]) -> None:
        """Post to the file stream of a run (entity, project, name); again while replies are lost: each line says its
        place. Raises as `ask`."""
        path = "/".join(["files", *(quote(part, safe="") for part in run), "file_stream"])
        _patiently(lambda: self._sent(path, body))

    def _sent(self, path: str, value: Any) -> dict[str, Any]:
        body = canonical.encode(value).encode()
        for number in range(10 * TRIES):
            self._rest()
            response = self._post(path, body)
            if response.status_code != 429:
                return self._answer(response)
            self._slow_down(response.headers.get("Retry-After"), number)
        raise StoreError(f"{self.base} limits the rate of requests, and did not cease to; try again later")

    def _post(self, path: str, body: bytes) -> Any:
        import requests

        try:
            return self.session.post(f"{self.base}/{path}", data=body, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise LostReplyError(f"{self.base} cannot be reached, or did not answer: {_cause(error)}") from error

    def _answer(self, response: Any) -> dict[str, Any]:
        try:
            told = response.json()
        except ValueError:
            told = {}
        errors = told.get("errors") or () if isinstance(told, dict) else ()
        message = "\n".join(str(error.get("message")) for error in errors) or f"status {response.status_code}"
        if response.status_code in (401, 403):
            raise AccessError(f"{self.base}: {message}")
        if response.status_code >= 500:
            raise LostReplyError(f"{self.base} answers {response.status_code}: {message}")
        if errors or response.status_code != 200 or not isinstance(told, dict):
            data = told.get("data") if isinstance(told, dict) else None
            raise RefusedError(f"{self.base}: {message}", errors, data, response.status_code)
        return told

    def _rest(self) -> None:
        wait = self._not_before - time.monotonic()
        if wait > 0:
            time.sleep(wait)

    def _slow_down(self, given: str | None, number: int) -> None:
        """Everybody waits for as long as the server says, or a while that doubles."""
        seconds = retry_after(given)
        if seconds is None:
            seconds = min(LONGEST_PAUSE, 0.25 * 2**number) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._not_before = max(self._not_before, time.monotonic() + min(seconds, LONGEST_PAUSE))


def _patiently(send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a request gives that may be carried out twice, tried again while replies are lost."""
    for number in range(TRIES):
        try:
            return send()
        except LostReplyError:
            if number == TRIES - 1:
                raise
            back_off(number)
    raise AssertionError("not reached")


def retry_after(given: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, in either of its forms; None for none.

    >>> retry_after("3"), retry_after(None), retry_after("soon")
    (3.0, None, None)
    """
    if not given:
        return None
    with suppress(ValueError):
        return max(0.0, float(given))
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    return None


def back_off(number: int) -> None:
    """Rest after the failure of this number (from 0): a while that doubles, with jitter."""
    time.sleep(min(LONGEST_PAUSE, 0.05 * 2**number) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter


def _cause(error: Exception) -> str:
    text = str(error.args[0]) if error.args else ""
    return (text or type(error).__name__)[:200]


CLIENTS: dict[tuple[str, str], Client] = {}
"""The connections of this process, by address and key."""


def client_of(url: str) -> tuple[Client, str | None]:
    """The connection that `wandb+https://HOST[/ENTITY]` names, and the entity. StoreError for other URLs."""
    parts = urlsplit(url.removeprefix("wandb+"))
    if parts.username or parts.password:
        raise StoreError(
            "the address of the store holds a user or a key, which logs would show; set WANDB_API_KEY instead"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise StoreError(f"store {url!r} names no server; expected wandb+https://HOST or wandb+https://HOST/ENTITY")
    base = f"{parts.scheme}://{parts.netloc}"
    key = api_key(parts.hostname)
    client = CLIENTS.setdefault((base, key), Client(base, key))
    return client, parts.path.strip("/") or os.environ.get("WANDB_ENTITY")
