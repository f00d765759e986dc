"""What is deleted of a cluster: the object of a run, or only the run's pods where it shares the object. Beside the
agent's work, and again while the cluster does not answer, or refuses it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from threading import Event

from launcher.errors import RunnerError
from launcher.runners import Handle
from launcher.runners.kubernetes import words
from launcher.runners.kubernetes.cluster import ApiError, Cluster
from launcher.runners.kubernetes.places import Places, pods_path


class Deletions:
    """Deletes by handle; one call at a time for each thing.

    `closed`: nothing is tried again after it. `pause`: seconds until a cluster that did not do it is asked again.
    """

    def __init__(self, places: Places, pool: Executor, closed: Event, pause: float) -> None:
        self._places = places
        self._pool = pool
        self._closed = closed
        self._pause = pause
        self._begun: dict[tuple[str, str], Future[None]] = {}
        self._refused: dict[tuple[str, str], Callable[[], None]] = {}
        self._retrying = False
        self._lock = threading.Lock()

    def object(self, handle: Handle) -> None:
        """The object of a run, and with it its pods."""
        self._begin(("object", handle["name"]), handle, lambda cluster: cluster.delete(handle["path"], handle["name"]))

    def pods(self, handle: Handle) -> None:
        """The pods of a run; its object goes on."""

        def delete(cluster: Cluster) -> None:
            for pod in self._places.pods_now(handle):
                cluster.delete(pods_path(handle), pod["metadata"]["name"])

        self._begin((f"pods {handle['index']}", handle["name"]), handle, delete)

    def has_pods(self, handle: Handle) -> bool:
        """Whether a pod of a run may still do something, as far as the cluster says."""
        with suppress(ApiError, RunnerError):
            return any(map(words.lives, self._places.pods_now(handle)))
        return True

    def _begin(self, key: tuple[str, str], handle: Handle, action: Callable[[Cluster], None]) -> None:
        with self._lock:
            before = self._begun.get(key)
            if key not in self._refused and (before is None or before.done()):
                self._begun[key] = self._pool.submit(
                    self._try, key, lambda: action(self._places.cluster(handle["context"]))
                )

    def _try(self, key: tuple[str, str], delete: Callable[[], None]) -> None:
        """What is refused waits elsewhere: others need the pool."""
        try:
            delete()
        except (ApiError, RunnerError):
            with self._lock:
                self._refused[key] = delete
                if not self._retrying:
                    self._retrying = True
                    threading.Thread(target=self._try_again, daemon=True, name="deletions").start()

    def _try_again(self) -> None:
        """One of those that were refused, in turn; once one is answered, all the others."""
        while not self._closed.wait(self._pause):
            with self._lock:
                key = next(iter(self._refused))
                delete = self._refused.pop(key)
            self._try(key, delete)
            with self._lock:
                if key not in self._refused:
                    rest, self._refused = self._refused, {}
                    with suppress(RuntimeError):  # the pool is closed
                        self._begun |= {key: self._pool.submit(self._try, key, each) for key, each in rest.items()}
                if not self._refused:
                    self._retrying = False
                    return
