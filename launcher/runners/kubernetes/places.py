"""Where runs are on Kubernetes: the clusters an agent talks to, what it watches there, and the file by which whoever
comes after it finds the same. `runner` calls it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher.paths import RunPaths, write_atomically
from launcher.runners import Handle
from launcher.runners.engines import Word
from launcher.runners.kubernetes import words
from launcher.runners.kubernetes.cluster import Cluster
from launcher.runners.kubernetes.request import RUNS, root_label, selector
from launcher.runners.kubernetes.watch import Watched

PLACES = ".kubernetes"
"""The file, below the folder of runs, that names where its runs were submitted: a JSON object a line."""


class Places:
    """Clusters by their contexts, and what is watched in each; `changed` hears the names of runs' objects."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._clusters: dict[str | None, Cluster] = {}
        self._watched: dict[tuple[Any, ...], Watched] = {}
        self._lock = threading.Lock()

    def cluster(self, context: str | None) -> Cluster:
        """The cluster of a context. RunnerError where none is configured."""
        with self._lock:
            if context not in self._clusters:
                self._clusters[context] = Cluster(context)
            return self._clusters[context]

    def watch(self, place: Mapping[str, Any], root: Path) -> tuple[Watched, Watched]:
        """What is known of the objects of a place for runs below `root`, and of their pods."""
        cluster = self.cluster(place["context"])
        selected = selector(root_label(root))
        found = []
        for path in (place["path"], pods_path(place)):
            key = (place["context"], path, selected)
            with self._lock:
                if key not in self._watched:
                    self._watched[key] = Watched(cluster, path, selected, self._changed)
                found.append(self._watched[key])
        return found[0], found[1]

    def pods_now(self, handle: Handle) -> list[Mapping[str, Any]]:
        """The pods of a run, as its cluster has them now. ApiError, RunnerError where that cannot be said."""
        found, _ = self.cluster(handle["context"]).listed(pods_path(handle), f"launcher/name={handle['name']}")
        return words.of_run(found, handle["index"])

    def remember(self, place: Mapping[str, Any], root: Path) -> None:
        """Note where runs of this folder are, for whoever looks for them after us. OSError."""
        file = root / PLACES
        line = json.dumps({name: place[name] for name in ("context", "namespace", "path")})
        with self._lock:
            known = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
            if line not in known:
                write_atomically(file, "\n".join([*known, line]) + "\n")

    def listed(self, root: Path, *, ended: bool = False) -> Iterator[tuple[Handle, str, str, list[str]]]:
        """The runs of this folder that clusters know: handle, item, token, and the tokens that share its object; also
        those that have `ended`, where that is asked for. ApiError, RunnerError where that cannot be said."""
        file = root / PLACES
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            place = json.loads(line)
            made, _ = self.cluster(place["context"]).listed(place["path"], selector(root_label(root)))
            for each in made:
                told = json.loads(each["metadata"]["annotations"][RUNS])
                sharing = [token for _, _, token in told["runs"]]
                for number, (item, folder, token) in enumerate(told["runs"]):
                    index = number if told["packed"] else None
                    if ended or words.said(each, (), index).word is Word.GOES_ON:
                        yield handle_of(each["metadata"]["name"], place, index, folder, told), item, token, sharing

    def close(self) -> None:
        """Watch nothing more, and leave the clusters."""
        for watched in self._watched.values():
            watched.close()
        for cluster in self._clusters.values():
            cluster.close()


def handle_of(
    name: str, place: Mapping[str, Any], index: int | None, folder: str, told: Mapping[str, Any]
) -> dict[str, Any]:
    """The handle of a run; `told` is what its object says about it, too."""
    return {
        "name": name, "index": index, "context": place["context"], "namespace": place["namespace"],
        "path": place["path"], "dir": folder, "shared": told["shared"], "pull_seconds": told["pull_seconds"],
        "schedule_seconds": told.get("schedule_seconds"),
    }  # fmt: skip


def pods_path(place: Mapping[str, Any]) -> str:
    """Where the pods of a place are."""
    return f"/api/v1/namespaces/{place['namespace']}/pods"


def root_of(handle: Handle) -> Path:
    """The folder of runs that a run belongs to."""
    return RunPaths(Path(handle["dir"])).root
