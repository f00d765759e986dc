"""What is sent to a W&B server, exactly once. A local store is the outbox: a sweep lies in it whole before its first
item is sent. Each carries a marker, its run ID; after a lost reply the server is asked for that before it is sent
again."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher import canonical
from launcher.item import Lease, QueueInfo, RunState
from launcher.outcome import Failed
from launcher.queues.sqlite import SqliteStore
from launcher.queues.wandb.client import IN_FLIGHT, TRIES, Client, LostReplyError, RefusedError, back_off

SENDER = "sender"
TOGETHER = 16
"""Pushes in one request: GraphQL carries out the fields of a mutation one after another."""

OURS = ("retry", "timeout", "limits", "fingerprint", "provenance", "secrets", "hydra", "_traceparent")
"""Fields of a spec that mean nothing to W&B."""

NO_PROJECT = "uncategorized"
"""Where W&B puts runs that name no project."""

SCANNED = 100
"""Items a page when a queue is searched for markers."""


class Outbox:
    """Sends what waits in a local store. `project` is that of the queues."""

    def __init__(self, local: SqliteStore, client: Client, entity: str, project: str) -> None:
        self._local = local
        self._client = client
        self._entity = entity
        self._project = project
        self._together = TOGETHER
        self._writing = threading.Lock()
        self._sweeps: dict[tuple[str, ...], bool] = {}

    def send(self, queues: Mapping[str, QueueInfo]) -> list[str]:
        """Send everything that waits, several requests at a time; returns what the server refused, a text each. One
        process at a time sends: what is leased then was left by one that ended before it knew the reply."""
        refused: list[str] = []
        with locked(self._local.path.with_suffix(".lock")), ThreadPoolExecutor(IN_FLIGHT) as pool:
            left = [lease for lease in self._local.held(SENDER) if lease.item.state is RunState.LEASED]
            under_way = {pool.submit(self._settle, part, queues, True) for part in _parts(left, self._together)}
            while True:
                while len(under_way) < IN_FLIGHT and (leases := self._take(queues)):
                    under_way.add(pool.submit(self._settle, leases, queues, False))
                if not under_way:
                    return refused
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                refused.extend(text for future in done for text in _result(future, under_way))

    def _take(self, queues: Mapping[str, QueueInfo]) -> list[Lease]:
        with self._writing:
            return self._local.pop(SENDER, list(queues), self._together)

    def _settle(self, leases: Sequence[Lease], queues: Mapping[str, QueueInfo], in_doubt: bool) -> list[str]:
        """Send these until the server has answered for each; returns what it refused."""
        refused: list[str] = []
        open_, tries = list(leases), 0
        while open_:
            if in_doubt:
                there = self._located(open_)
                self._sent([(lease, there[lease.item.id]) for lease in open_ if lease.item.id in there])
                open_ = [lease for lease in open_ if lease.item.id not in there]
            try:
                refused += self._push(open_, queues) if open_ else []
            except LostReplyError:
                tries += 1
                if tries == TRIES:
                    raise
                in_doubt = True
                back_off(tries)
            else:
                return refused
        return refused

    def _push(self, leases: Sequence[Lease], queues: Mapping[str, QueueInfo]) -> list[str]:
        sendable = [lease if self._is_sweep_there(lease.document) else _without_sweep(lease) for lease in leases]
        query, variables = push_document(sendable, queues, self._entity, self._project)
        data: Mapping[str, Any] = {}
        error: RefusedError | None = None
        try:
            data = self._client.once(query, **variables)
        except RefusedError as refusal:
            if refusal.whole and len(leases) > 1:  # a server that takes one at a time
                self._together = 1
                return [text for lease in leases for text in self._push([lease], queues)]
            data, error = refusal.data, refusal
        made = {number: data.get(f"p{number}") for number in range(len(leases))}
        self._sent([(leases[number], each["runQueueItemId"]) for number, each in made.items() if each])
        refused = [
            (leases[number], (error and error.at(f"p{number}")) or "the server did not say why")
            for number, each in made.items()
            if not each
        ]
        if refused:
            with self._writing:
                self._local.finish([(lease, Failed("push", told)) for lease, told in refused])
        return [told for _, told in refused]

    def _is_sweep_there(self, document: Mapping[str, Any]) -> bool:
        """Whether a spec's `sweep_id` may be sent: W&B's agents refuse what is of a sweep that their server has not, as
        ours are. `launcher serve` keeps it, and tells its agents of its own sweeps only."""
        if not document.get("sweep_id") or self._client.ours:
            return True
        named = (document["entity"] or self._entity, document["project"] or NO_PROJECT, document["sweep_id"])
        if named not in self._sweeps:
            query = """query Sweep($entity: String!, $project: String!, $sweep: String!) {
            project(entityName: $entity, name: $project) { sweep(sweepName: $sweep) { id } } }"""
            try:
                data = self._client.ask(query, **dict(zip(("entity", "project", "sweep"), named, strict=True)))
            except RefusedError:
                data = {}
            self._sweeps[named] = bool((data.get("project") or {}).get("sweep"))
        return self._sweeps[named]

    def _sent(self, sent: Sequence[tuple[Lease, str]]) -> None:
        if sent:
            with self._writing:
                self._local.ack([(lease, {"wandb_item": item}, "") for lease, item in sent])

    def _located(self, leases: Sequence[Lease]) -> dict[str, str]:
        """Which of these the server has already: their markers to its items."""
        by_queue: dict[str, list[Lease]] = {}
        for lease in leases:
            by_queue.setdefault(lease.item.queue, []).append(lease)
        look = self._by_id if self._client.ours else self._by_scan
        fresh = {lease.item.id for lease in leases if lease.item.attempt == 1}
        return {
            marker: item
            for queue, own in by_queue.items()
            for marker, item, state in look(queue, {lease.item.id for lease in own})
            if marker in fresh or state in ("PENDING", "LEASED")  # an earlier attempt's item says nothing of this one
        }

    def _by_id(self, queue: str, markers: set[str]) -> Iterator[tuple[str, str, str]]:
        ids = sorted(markers)
        fields = " ".join(f"i{number}: runQueueItem(id: $i{number}) {{ id state }}" for number in range(len(ids)))
        declared = ", ".join(f"$i{number}: ID!" for number in range(len(ids)))
        query = (
            f"query Items($entity: String!, $project: String!, $queue: String!, {declared}) {{ "
            f"project(entityName: $entity, name: $project) {{ runQueue(name: $queue) {{ {fields} }} }} }}"
        )
        variables = {f"i{number}": marker for number, marker in enumerate(ids)}
        data = self._client.ask(query, entity=self._entity, project=self._project, queue=queue, **variables)
        for node in ((data["project"] or {}).get("runQueue") or {}).values():
            if node:
                yield node["id"], node["id"], node["state"]

    def _by_scan(self, queue: str, markers: set[str]) -> Iterator[tuple[str, str, str]]:
        query = """query RunQueueItems($entity: String!, $project: String!, $queue: String!, $first: Int!,
        $after: String) { project(entityName: $entity, name: $project) { runQueue(name: $queue) {
        runQueueItems(first: $first, after: $after) { edges { node { id state runSpec } }
        pageInfo { endCursor hasNextPage } } } } }"""
        after = None
        while True:
            data = self._client.ask(
                query, entity=self._entity, project=self._project, queue=queue, first=SCANNED, after=after
            )
            page = (((data["project"] or {}).get("runQueue")) or {}).get("runQueueItems") or {"edges": ()}
            for edge in page["edges"]:
                spec = edge["node"]["runSpec"]
                spec = canonical.decode(spec) if isinstance(spec, str) else spec or {}
                if spec.get("run_id") in markers:
                    yield spec["run_id"], edge["node"]["id"], edge["node"]["state"]
            if not page["edges"] or not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]


def push_document(
    leases: Sequence[Lease], queues: Mapping[str, QueueInfo], entity: str, project: str
) -> tuple[str, dict[str, Any]]:
    """The mutation that pushes these items, named p0, p1, …, and its variables."""
    variables: dict[str, Any] = {"entity": entity, "project": project}
    declared, fields = ["$entity: String!", "$project: String!"], []
    for number, lease in enumerate(leases):
        queue = queues[lease.item.queue]
        own: dict[str, tuple[str, str, Any]] = {
            "queueName": ("q", "String!", queue.name), "runSpec": ("s", "JSONString!", spec_text(lease, entity)),
        }  # fmt: skip
        if given := lease.document.get("template_variables"):
            own["templateVariableValues"] = ("v", "JSONString", canonical.encode(given))
        if queue.prioritization != "DISABLED":
            own["priority"] = ("n", "Int", lease.item.priority)
        declared += [f"${short}{number}: {kind}" for short, kind, _ in own.values()]
        variables |= {f"{short}{number}": value for short, _, value in own.values()}
        given_ = ", ".join(f"{name}: ${short}{number}" for name, (short, _, _) in own.items())
        fields.append(
            f"p{number}: pushToRunQueueByName(input: {{entityName: $entity, projectName: $project, {given_}}}) "
            "{ runQueueItemId }"
        )
    return f"mutation pushToRunQueueByName({', '.join(declared)}) {{ {' '.join(fields)} }}", variables


def _without_sweep(lease: Lease) -> Lease:
    return replace(lease, document={key: value for key, value in lease.document.items() if key != "sweep_id"})


def spec_text(lease: Lease, entity: str) -> str:
    """The spec of an item as it is sent, with its marker; of this entity, if it names none."""
    spec = {name: value for name, value in lease.document.items() if name not in (*OURS, "template_variables")}
    if spec.get("job"):  # W&B refuses what names both; it looks the image up
        spec["docker"] = {}
    resumed = {"_resume_count": lease.item.attempt - 1} if lease.item.attempt > 1 else {}
    return canonical.encode({**spec, **resumed, "entity": spec["entity"] or entity, "run_id": lease.item.id})


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Alone among the processes of this machine, however they end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parts(leases: Sequence[Lease], size: int) -> Iterator[Sequence[Lease]]:
    for start in range(0, len(leases), size):
        yield leases[start : start + size]


def _result(future: Future[list[str]], others: set[Future[list[str]]]) -> list[str]:
    try:
        return future.result()
    except BaseException:
        for other in others:
            other.cancel()
        raise
