"""The queues and jobs of a W&B server, as ours: a part of the store `wandb`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from launcher import canonical
from launcher.errors import ConflictError, NotFoundError, StoreError, UsageError
from launcher.item import JobVersion, QueueInfo
from launcher.queues.sqlite import SqliteStore
from launcher.queues.wandb.client import Client

PROJECT = "model-registry"  # where W&B keeps all queues
KEPT = ("name", "entity", "resource", "resource_args", "variables", "prioritization", "links", "created_at")
"""Settings of a queue that W&B's queues have, too."""


class WandbQueues:
    """The verbs about queues and jobs; see `launcher.queues.Store`. `_local` is the outbox's store."""

    url: str
    _client: Client
    _entity: str
    _local: SqliteStore

    def queues(self) -> list[QueueInfo]:
        """See `Store.queues`."""
        return list(self._mirrored().values())

    def _mirrored(self) -> dict[str, QueueInfo]:
        """The queues of the server, which the outbox has, too, from now on."""
        found = {queue.name: queue for queue in map(self._queue_of, self._queue_nodes(configured=True))}
        known = {queue.name: queue for queue in self._local.queues()}
        for queue in found.values():
            if queue.name not in known:
                self._local.create_queue(queue)
            elif replace(known[queue.name], created_at=0.0) != queue:
                self._local.update_queue(queue)
        return found

    def _queue_nodes(self, *, configured: bool) -> list[dict[str, Any]]:
        data = self._client.ask(
            """query ProjectRunQueues($entity: String!, $project: String!) {
            project(entityName: $entity, name: $project) { runQueues {
            id name defaultResourceConfigID prioritizationMode externalLinks } } }""",
            entity=self._entity,
            project=PROJECT,
        )
        nodes = (data.get("project") or {}).get("runQueues") or []
        with_config = [node for node in nodes if configured and node["defaultResourceConfigID"]]
        if with_config:
            declared = ", ".join(f"$c{number}: ID!" for number in range(len(with_config)))
            asked = "{ config resource templateVariables { name schema } }"
            configs_ = " ".join(f"c{n}: defaultResourceConfig(id: $c{n}) {asked}" for n in range(len(with_config)))
            given = {f"c{number}": node["defaultResourceConfigID"] for number, node in enumerate(with_config)}
            query = f"query Configs($entity: String!, {declared}) {{ entity(name: $entity) {{ {configs_} }} }}"
            configs = self._client.ask(query, entity=self._entity, **given).get("entity") or {}
            for number, node in enumerate(with_config):
                node["config"] = configs.get(f"c{number}")
        return list(nodes)

    def _queue_of(self, node: Mapping[str, Any]) -> QueueInfo:
        config = node.get("config") or {}
        resource = config.get("resource") or "local-container"
        arguments = ((config.get("config") or {}).get("resource_args") or {}).get(resource) or {}
        variables = {each["name"]: canonical.decode(each["schema"]) for each in config.get("templateVariables") or ()}
        links = {link["label"]: link["url"] for link in (node.get("externalLinks") or {}).get("links") or ()}
        return QueueInfo(
            node["name"], resource, node["prioritizationMode"] or "DISABLED", entity=self._entity, variables=variables,
            resource_args={resource: arguments} if arguments else {}, links=links,
        )  # fmt: skip

    def _queue_ids(self) -> dict[str, str]:
        return {node["name"]: node["id"] for node in self._queue_nodes(configured=False)}

    def create_queue(self, queue: QueueInfo) -> None:
        """See `Store.create_queue`."""
        if queue.name in self._queue_ids():
            raise ConflictError(f"queue {queue.name!r} exists already in {self.url}; choose another name")
        self._upsert(queue)

    def update_queue(self, queue: QueueInfo) -> None:
        """See `Store.update_queue`."""
        if queue.name not in self._queue_ids():
            raise NotFoundError(f"no queue named {queue.name!r} in {self.url}")
        self._upsert(queue)

    def _upsert(self, queue: QueueInfo) -> None:
        plain = QueueInfo("", "")
        names = [field.name for field in fields(queue) if field.name not in KEPT]
        asked = [name for name in names if getattr(queue, name) != getattr(plain, name)]
        if asked:
            raise UsageError(f"queue {queue.name!r}: W&B's queues have no {', '.join(asked)}; leave it out")
        arguments = dict(queue.resource_args) or {queue.resource: {}}
        data = self._client.ask(
            """mutation UpsertRunQueue($entity: String!, $project: String!, $queue: String!, $type: String!,
            $config: JSONString!, $variables: JSONString, $mode: RunQueuePrioritizationMode, $links: JSONString) {
            upsertRunQueue(input: {entityName: $entity, projectName: $project, queueName: $queue, resourceType: $type,
            resourceConfig: $config, templateVariables: $variables, prioritizationMode: $mode, externalLinks: $links})
            { success configSchemaValidationErrors } }""",
            entity=self._entity, project=PROJECT, queue=queue.name, type=queue.resource, mode=queue.prioritization,
            config=canonical.encode({"resource_args": arguments}),
            variables=canonical.encode({name: {"schema": schema} for name, schema in queue.variables.items()}),
            links=canonical.encode({"links": [{"label": key, "url": url} for key, url in queue.links.items()]}),
        )["upsertRunQueue"]  # fmt: skip
        if not data["success"]:
            raise UsageError("\n".join(data["configSchemaValidationErrors"] or ["the server refused the queue"]))

    def pause_queue(self, name: str, *, paused: bool) -> None:
        """See `Store.pause_queue`: W&B's queues are never paused, so only that can be asked for."""
        if paused:
            raise StoreError(f"store {self.url} cannot pause queue {name!r}: W&B's protocol has nothing for it")

    def delete_queue(self, name: str) -> None:
        """See `Store.delete_queue`."""
        ids = self._queue_ids()
        if name not in ids:
            raise NotFoundError(f"no queue named {name!r} in {self.url}")
        query = "mutation DeleteRunQueue($id: ID!) { deleteRunQueues(input: {queueIDs: [$id]}) { success } }"
        self._client.ask(query, id=ids[name])

    def jobs(self, name: str | None = None) -> list[JobVersion]:
        """See `Store.jobs`: the versions of one, by number and aliases; their code is the server's to look up."""
        if name is None:
            return []
        entity, project, job = name.split("/", 2)
        query = """query JobVersions($entity: String!, $project: String!, $job: String!) { project(entityName: $entity,
        name: $project) { artifactType(name: "job") { artifactCollection(name: $job) { ... on ArtifactSequence {
        artifacts { edges { node { versionIndex state aliases { alias } } } } } } } } }"""
        data = self._client.ask(query, entity=entity, project=project, job=job)
        kind = (data.get("project") or {}).get("artifactType") or {}
        edges = ((kind.get("artifactCollection") or {}).get("artifacts") or {"edges": ()})["edges"]
        return [
            JobVersion(
                name, "remote", {}, number=edge["node"]["versionIndex"],
                aliases=tuple(each["alias"] for each in edge["node"]["aliases"]),
            )
            for edge in edges
            if edge["node"]["state"] == "COMMITTED"
        ]  # fmt: skip
