"""What runs print in their pods, brought to their logs: some are followed while they run, and all are fetched whole
when they have ended. `runner` calls it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.runners.kubernetes.cluster import ApiError, Cluster
from launcher.runners.kubernetes.words import main

FOLLOWED = 32
"""How many logs are followed at a time: each is a connection to the cluster, and one from it to a node."""


class Logs:
    """The logs of pods. `pool` fetches those of runs that ended, and `changed` hears of the run when it has."""

    def __init__(self, pool: ThreadPoolExecutor, changed: Callable[[str], None]) -> None:
        self._pool = pool
        self._changed = changed
        self._followed: dict[str, tuple[threading.Thread, list[Any]]] = {}
        self._fetching: dict[str, tuple[str, Future[None]]] = {}
        self._closed = False

    def follow(self, cluster: Cluster, namespace: str, pod: Mapping[str, Any], log: Path) -> None:
        """Begin to bring what a pod prints to `log`, unless that is done, or too many are followed."""
        name = pod["metadata"]["name"]
        with suppress(OSError):
            log.touch()
        if self._closed or name in self._followed or len(self._followed) >= FOLLOWED:
            return
        opened: list[Any] = []
        thread = threading.Thread(
            target=self._follow, args=(cluster, namespace, pod, log, opened), daemon=True, name=f"log of {name}"
        )
        self._followed[name] = thread, opened
        thread.start()

    def kept(self, cluster: Cluster, namespace: str, pod: Mapping[str, Any], log: Path, run: str) -> bool:
        """Whether all that a pod printed was fetched, as far as its node has it; if not, that begins now."""
        name = pod["metadata"]["name"]
        fetching = self._fetching.get(name)
        if fetching is None:
            made = self._pool.submit(self.keep, cluster, namespace, pod, log)
            self._fetching[name] = run, made
            made.add_done_callback(lambda _: self._changed(run))
            return False
        if not fetching[1].done():
            return False
        del self._fetching[name]
        return True

    def gathered(self, seconds: float) -> set[str]:
        """Wait so long for the logs that are being fetched; the runs whose logs are there."""
        wait([fetched for _, fetched in self._fetching.values()], seconds)
        return {run for run, fetched in self._fetching.values() if fetched.done()}

    def keep(self, cluster: Cluster, namespace: str, pod: Mapping[str, Any], log: Path) -> None:
        """Fetch all, at once: whatever became of who followed it, nothing is missing or there twice. What was followed
        stays where the pod is gone."""
        partial = log.with_name(f"{log.name}.partial")
        try:
            log.touch()
            with partial.open("wb") as file:
                for piece in cluster.log(namespace, pod["metadata"]["name"], main(pod), follow=False, opened=[]):
                    file.write(piece)
            partial.replace(log)
        except (ApiError, OSError):
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def close(self) -> None:
        """Follow no more."""
        self._closed = True
        for thread, opened in list(self._followed.values()):
            while thread.is_alive():
                for response in opened:
                    with suppress(Exception):
                        response.shutdown()
                thread.join(0.05)

    def _follow(self, cluster: Cluster, namespace: str, pod: Mapping[str, Any], log: Path, opened: list[Any]) -> None:
        name = pod["metadata"]["name"]
        with suppress(ApiError, OSError):
            pieces = cluster.log(namespace, name, main(pod), follow=True, opened=opened)
            if first := next(pieces, b""):
                with log.open("wb", buffering=0) as file:  # it begins anew: what another agent followed is there again
                    file.write(first)
                    for piece in pieces:
                        file.write(piece)
        self._followed.pop(name, None)
