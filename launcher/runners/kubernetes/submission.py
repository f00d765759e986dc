"""How runs get to Kubernetes, each exactly once: names are made of leases, and a call without an answer is made again
until it is known. `runner` calls it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from launcher.errors import NoRoomError, RunnerError
from launcher.paths import RunPaths
from launcher.runners import Handle
from launcher.runners.engines import withdraw, write_request
from launcher.runners.kubernetes.cluster import ApiError, Cluster, kubernetes_missing
from launcher.runners.kubernetes.places import Places, handle_of
from launcher.runners.kubernetes.request import KubernetesBatch, KubernetesRequest


class Submissions:
    """Creates the objects of runs in `places`. `refused_until` is when the cluster may take more, by the monotonic
    clock; `unsure` are objects of which nobody knows whether it has them, and `refusals` says why some of these never
    will be there."""

    def __init__(self, places: Places, poll_seconds: float) -> None:
        self.refused_until = 0.0
        self.unsure: dict[str, tuple[Cluster, str, Mapping[str, Any]]] = {}
        self.refusals: dict[str, str] = {}
        self._places = places
        self._poll_seconds = poll_seconds
        self._secrets: set[tuple[str | None, str, str]] = set()

    def submit(self, batch: KubernetesBatch) -> dict[str, Handle | RunnerError]:
        """Create an object; for each of its runs the handle, or why it could not be."""
        first = batch.requests[0]
        tokens = [request.token for request in batch.requests]
        try:
            made = batch.manifest()
            place = self._place(first.context, made)
            self._places.remember(place, RunPaths(first.folder).root)
            for request in batch.requests:
                write_request(request)
            self._give_secret(place, first)
            self._create(place, made, batch)
        except ApiError as error:
            for request in batch.requests:
                withdraw(request.folder)
            if error.later:
                self.refused_until = time.monotonic() + max(self._poll_seconds, error.retry_after or 0.0)
                return dict.fromkeys(tokens, NoRoomError(f"Kubernetes takes no more now: {error}"))
            return dict.fromkeys(tokens, RunnerError(f"Kubernetes refuses it: {error}"))
        except RunnerError as error:
            return dict.fromkeys(tokens, error)
        except OSError as error:
            return dict.fromkeys(tokens, RunnerError(f"its request cannot be written down: {error}"))
        return {
            request.token: handle_of(
                batch.name, place, number if batch.packed else None, str(request.folder), batch.told()
            )
            for number, request in enumerate(batch.requests)
        }

    def _create(self, place: Mapping[str, Any], made: Mapping[str, Any], batch: KubernetesBatch) -> None:
        cluster = self._places.cluster(place["context"])
        watched, pods = self._places.watch(place, RunPaths(batch.requests[0].folder).root)
        pods.known()  # from before there are any, so that a pod which is gone soon was heard of
        try:
            watched.learn(cluster.create(place["path"], made))
        except ApiError as error:
            if error.unsure:  # it may be there, so nobody else may run them: asked again until it is known
                self.unsure[batch.name] = (cluster, place["path"], made)
            elif not error.exists:
                raise

    def ask_again(self) -> None:
        """Submissions of which nobody knows whether the cluster heard them."""
        for name, (cluster, path, made) in list(self.unsure.items()):
            try:
                cluster.create(path, made)
            except ApiError as error:
                if error.unsure or error.later:
                    return
                if not error.exists:
                    self.refusals[name] = f"Kubernetes refuses it: {error}"
            del self.unsure[name]

    def _place(self, context: str | None, made: Mapping[str, Any]) -> dict[str, Any]:
        """Where an object will be. ApiError, RunnerError where the cluster does not know its kind."""
        cluster = self._places.cluster(context)
        namespace = made["metadata"].get("namespace") or cluster.namespace
        path = cluster.path(made["apiVersion"], made["kind"], namespace)
        return {"context": context, "namespace": namespace, "path": path}

    def _give_secret(self, place: Mapping[str, Any], request: KubernetesRequest) -> None:
        """What its references name. The name is made of the values, so one that is there already is right."""
        key = (place["context"], place["namespace"], request.secret)
        if not request.secret or key in self._secrets:
            return
        try:
            self._places.cluster(place["context"]).create(
                f"/api/v1/namespaces/{place['namespace']}/secrets", request.secret_manifest()
            )
        except ApiError as error:
            if not error.exists:
                raise
        self._secrets.add(key)

    def refusal(self, context: str | None, made: Mapping[str, Any]) -> str | None:
        """Why the cluster would not take it, if there is one, and it says so now."""
        if not kubernetes_missing():
            try:
                place = self._place(context, made)
                self._places.cluster(context).create(place["path"], made, dry=True)
            except ApiError as error:
                return None if error.unsure or error.later or error.exists else str(error)
            except RunnerError as error:
                return None if context is None else str(error)
        return None
