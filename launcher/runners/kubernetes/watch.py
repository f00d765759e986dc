"""What a cluster has of ours, kept up to date: listed once, then watched, by a thread for each kind of object. A watch
that breaks goes on where it was; one whose place is too old (410 Gone) begins with a list. `runner` reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from launcher.runners.kubernetes.cluster import ApiError, Cluster

PAUSE_SECONDS = 1.0
"""How long to rest, at first, after trouble; up to thirty times that."""

REST_SECONDS = 0.05
"""How long to rest between two watches, so that a server that ends each at once is not asked without end."""

REMEMBERED = 10_000
"""How many objects that are gone are remembered, as they were last seen."""

SURE_SECONDS = 60.0
"""How long an object that was created may be missing in lists."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as it was last seen; whether it is `there` still, or somebody was seen to delete it."""

    object: Mapping[str, Any]
    there: bool = True
    deleted: bool = False


ANSWER_SECONDS = 10.0


class Watched:
    """The objects under a path that a selector selects. `changed` hears, in the thread, of which run one has changed:
    the name of the run's object, which its pods have as a label."""

    def __init__(self, cluster: Cluster, path: str, selector: str, changed: Callable[[str], None]) -> None:
        self._known = False
        self._asked = threading.Event()
        self._seen: dict[str, Seen] = {}
        self._gone: dict[str, None] = {}
        self._groups: dict[str, set[str]] = {}
        self._cluster = cluster
        self._path = path
        self._selector = selector
        self._changed = changed
        self._version: str | None = None
        self._created: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._opened: list[Any] = []
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"watch {path}")
        self._thread.start()

    def learn(self, made: Mapping[str, Any]) -> None:
        """Know of an object that was just created before it is listed."""
        with self._lock:
            if _name(made) not in self._seen:
                self._created[_name(made)] = time.monotonic()
                self._keep(Seen(made))

    def known(self) -> bool:
        """Whether it was ever listed; the first answer is waited for, since whoever comes to collect looks once."""
        self._asked.wait(ANSWER_SECONDS)
        return self._known

    def of(self, run: str) -> list[Seen]:
        """What belongs to the run whose object has this name."""
        with self._lock:
            return [self._seen[name] for name in self._groups.get(run, ())]

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()
        while self._thread.is_alive():
            for response in self._opened:
                with suppress(Exception):
                    response.shutdown()
            self._thread.join(0.05)

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._closed.is_set():
            try:
                if self._version is None:
                    self._list()
                self._watch(self._version or "")
                pause = PAUSE_SECONDS
                self._closed.wait(REST_SECONDS)
            except ApiError as error:
                self._asked.set()
                if error.status == 410:
                    self._version = None
                    continue
                self._closed.wait(error.retry_after or pause)
                pause = min(2 * pause, 30 * PAUSE_SECONDS)

    def _list(self) -> None:
        items, version = self._cluster.listed(self._path, self._selector)
        found = {item["metadata"]["name"]: item for item in items}
        with self._lock:
            sure = time.monotonic() - SURE_SECONDS
            self._created = {name: at for name, at in self._created.items() if name not in found and at > sure}
            missing = [seen.object for name, seen in self._seen.items()
                       if seen.there and name not in found and name not in self._created]  # fmt: skip
            for last in missing:
                self._forget(last, deleted=False)
            for item in items:
                self._keep(Seen(item))
            self._version, self._known = version, True
        self._asked.set()
        for each in (*missing, *items):
            self._changed(group(each))

    def _watch(self, version: str) -> None:
        for event in self._cluster.watch(self._path, self._selector, version, self._opened):
            if self._closed.is_set():
                return
            told = event["object"]
            if event["type"] == "ERROR":
                raise ApiError(int(told.get("code") or 0), told.get("reason") or "", told.get("message") or "")
            self._version = told["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                self._apply(event["type"], told)

    def _apply(self, kind: str, told: Mapping[str, Any]) -> None:
        with self._lock:
            self._created.pop(_name(told), None)
            if kind == "DELETED":
                self._forget(told, deleted=True)
            else:
                self._keep(Seen(told))
        self._changed(group(told))

    def _keep(self, seen: Seen) -> None:
        name = _name(seen.object)
        self._seen[name] = seen
        self._gone.pop(name, None)
        self._groups.setdefault(group(seen.object), set()).add(name)

    def _forget(self, last: Mapping[str, Any], *, deleted: bool) -> None:
        self._keep(Seen(last, there=False, deleted=deleted))
        self._gone[_name(last)] = None
        while len(self._gone) > REMEMBERED:
            name = next(iter(self._gone))
            del self._gone[name]
            run = group(self._seen.pop(name).object)
            self._groups[run].discard(name)
            if not self._groups[run]:
                del self._groups[run]


def group(made: Mapping[str, Any]) -> str:
    """The name of the object of the run that this one belongs to, if it is not that itself."""
    return (made["metadata"].get("labels") or {}).get("launcher/name") or _name(made)


def _name(made: Mapping[str, Any]) -> str:
    return str(made["metadata"]["name"])
