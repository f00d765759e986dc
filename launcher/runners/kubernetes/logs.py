"""What runs print in their pods, brought to their logs: some are followed while they run, and all are fetched whole
when they have ended. `runner` calls it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.runners.kubernetes.asking import Asking
from launcher.runners.kubernetes.cluster import ApiError, Cluster
from launcher.runners.kubernetes.watch import REMEMBERED
from launcher.runners.kubernetes.words import main

FOLLOWED = 32
"""How many logs are followed at a time: each is a connection to the cluster, and one from it to a node."""


class Logs:
    """The logs of pods; those of runs that ended are asked for."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._followed: dict[str, tuple[threading.Thread, list[Any]]] = {}
        self._over: dict[str, None] = {}
        self._lock = threading.Lock()
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
        what = f"log of {pod['metadata']['name']}"
        return self._asking.sure(what, run, lambda: self._keep(cluster, namespace, pod, log))

    def _keep(self, cluster: Cluster, namespace: str, pod: Mapping[str, Any], log: Path) -> bool:
        """Fetch all, at once: whatever became of who followed it, nothing is missing or there twice. What was followed
        stays where the pod is gone."""
        partial = log.with_name(f"{log.name}.partial")
        try:
            log.touch()
            with partial.open("wb") as file:
                for piece in cluster.log(namespace, pod["metadata"]["name"], main(pod), follow=False, opened=[]):
                    file.write(piece)
            with self._lock:  # who follows it, and is late, must not begin it anew
                self._over[pod["metadata"]["name"]] = None
                while len(self._over) > REMEMBERED:
                    del self._over[next(iter(self._over))]
                partial.replace(log)
        except (ApiError, OSError):
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        return True

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
            first = next(pieces, b"")
            with self._lock:  # it begins anew: what another agent followed is there again
                file = log.open("wb", buffering=0) if first and name not in self._over else None
            if file:
                with file:
                    file.write(first)
                    for piece in pieces:
                        file.write(piece)
        self._followed.pop(name, None)
