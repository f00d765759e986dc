"""What is deleted of a cluster: the object of a run, or only the run's pods where it shares the object. Beside the
agent's work, and again while the cluster does not answer."""

from __future__ import annotations

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

    `closed`: nothing is tried again after it. `pause`: seconds until a cluster that did not answer is asked again.
    """

    def __init__(self, places: Places, pool: Executor, closed: Event, pause: float) -> None:
        self._places = places
        self._pool = pool
        self._closed = closed
        self._pause = pause
        self._begun: dict[tuple[str, str], Future[None]] = {}

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
        def act() -> None:
            while True:
                try:
                    return action(self._places.cluster(handle["context"]))
                except (ApiError, RunnerError):
                    if self._closed.wait(self._pause):
                        return None

        before = self._begun.get(key)
        if before is None or before.done():
            self._begun[key] = self._pool.submit(act)
