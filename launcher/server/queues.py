"""Queues as W&B's clients see them: an entity's, by the name that it gave them. Resolvers for making, showing, changing
and deleting them, and for their default resource configs with template variables."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from launcher import canonical
from launcher.errors import ConflictError, NotFoundError, UsageError, suggest
from launcher.item import ItemFilter, QueueInfo
from launcher.queue_file import create_queue, queue_info, update_queue
from launcher.server.desk import Ask, Desk, parsed, parts_of, storage_id

CONFIG = "resource_config"
DEFAULT_RESOURCE = "local-container"  # what W&B's agent takes where nothing is said
RESOURCE_NAMES = {"local": "local-container"}


def entity_of(desk: Desk, queue: QueueInfo) -> str:
    """The entity that a queue belongs to."""
    return queue.entity or desk.home


def former_entity(desk: Desk, name: str) -> str | None:
    """The entity whose items lie in a queue of this name, which may be deleted; None where there are none."""
    item = next(desk.store.items(ItemFilter(queue=name)), None)
    return str(desk.store.document(item.id).get("queue_entity") or desk.home) if item else None


def shown_name(desk: Desk, queue: QueueInfo) -> str:
    """A queue's name within its entity: two entities may have queues of one name, a store may not."""
    return queue.name.removeprefix(f"{entity_of(desk, queue)}/")


def queues_of(desk: Desk, entity: str) -> list[QueueInfo]:
    """The queues of an entity, by name."""
    return [queue for queue in desk.store.queues() if entity_of(desk, queue) == entity]


def found_queue(desk: Desk, entity: str, name: str) -> QueueInfo:
    """The queue of this name in an entity; NotFoundError, with the names there are, for others."""
    queues = queues_of(desk, entity)
    for queue in queues:
        if shown_name(desk, queue) == name:
            return queue
    known = suggest(name, [shown_name(desk, queue) for queue in queues])
    raise NotFoundError(f"no queue named {name!r} in entity {entity!r}; {known}")


def queue_by_id(ask: Ask, given: str, role: str) -> QueueInfo:
    """The queue of an ID, if the user has this role for it."""
    (name,) = parts_of(given, "RunQueue", 1)
    for queue in ask.desk.store.queues():
        if queue.name == name:
            ask.user.check(entity_of(ask.desk, queue), role)
            return queue
    raise NotFoundError(f"no queue {given!r}")


def queue_node(ask: Ask, queue: QueueInfo) -> dict[str, Any]:
    """A GraphQL RunQueue."""
    links = [{"label": label, "url": url} for label, url in queue.links.items()]
    return {
        "id": storage_id("RunQueue", queue.name),
        "name": shown_name(ask.desk, queue),
        "createdBy": ask.user.name,
        "access": "PROJECT",
        "defaultResourceConfigID": storage_id("QueueConfig", queue.name),
        "prioritizationMode": queue.prioritization,
        "externalLinks": {"links": links},
        "queue": queue,
    }


# -- resolvers --------------------------------------------------------------------------------------------------------


def default_resource_config(entity: Mapping[str, Any], info: Any, id: str) -> dict[str, Any] | None:
    """Entity.defaultResourceConfig: of a queue, or one that no queue has yet."""
    ask: Ask = info.context
    try:
        (name,) = parts_of(id, "QueueConfig", 1)
    except UsageError:
        record = ask.desk.store.record(CONFIG, id)
        if record is None or record.value["entity"] != entity["name"]:
            return None
        resource, config, variables = (record.value[key] for key in ("resource", "config", "variables"))
    else:
        queue = next((each for each in queues_of(ask.desk, entity["name"]) if each.name == name), None)
        if queue is None:
            return None
        resource, variables = queue.resource, queue.variables
        config = {"resource_args": queue.resource_args or {resource: {}}}
    return {
        "resource": resource,
        "config": config,
        "templateVariables": [
            {
                "name": name,
                "schema": canonical.encode({key: value for key, value in schema.items() if key != "description"}),
                "description": schema.get("description"),
            }
            for name, schema in variables.items()
        ],
    }


def create_default_resource_config(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Keeps a config until a queue takes it."""
    ask: Ask = info.context
    entity = ask.entity(input["entityName"], "member")
    settings = _settings(input["resource"], input["config"], input.get("templateVariables"))
    _must_be_queue({"name": "config", **settings})
    value = {
        "entity": entity,
        "resource": settings["resource"],
        "config": {"resource_args": settings["resource_args"]},
        "variables": settings["variables"],
    }
    key = secrets.token_hex(8)
    ask.desk.store.keep_record(CONFIG, key, value)
    return {"defaultResourceConfigID": key, "success": True}


def create_run_queue(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """A queue with the config that was made for it; of the default resource without one."""
    ask: Ask = info.context
    desk, name = ask.desk, input["queueName"]
    entity = ask.entity(input["entityName"], "member")
    settings: dict[str, Any] = {"resource": DEFAULT_RESOURCE}
    if config := input.get("defaultResourceConfigID"):
        record = desk.store.record(CONFIG, config)
        if record is None or record.value["entity"] != entity:
            raise NotFoundError(f"no default resource config {config!r} in entity {entity!r}")
        settings = {"resource": record.value["resource"], "variables": record.value["variables"]}
        settings["resource_args"] = record.value["config"]["resource_args"]
    settings["prioritization"] = input.get("prioritizationMode") or "DISABLED"
    made = _create(desk, entity, name, settings)
    return {"success": True, "queueID": storage_id("RunQueue", made.name)}


def upsert_run_queue(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Makes a queue what is given; what is wrong with that is told in the payload, where the client looks for it."""
    ask: Ask = info.context
    desk, name = ask.desk, input["queueName"]
    entity = ask.entity(input["entityName"], "member")
    settings = _settings(input["resourceType"], input["resourceConfig"], input.get("templateVariables"))
    if input.get("prioritizationMode"):
        settings["prioritization"] = input["prioritizationMode"]
    if (links := parsed(input.get("externalLinks"), "externalLinks")) is not None:
        settings["links"] = _links(links.get("links") or ())
    known = next((queue for queue in queues_of(desk, entity) if shown_name(desk, queue) == name), None)
    if known:
        ask.user.check(entity, "admin")
    _, problems = queue_info({"name": name, **settings})
    if problems:
        return {"success": False, "configSchemaValidationErrors": [str(problem) for problem in problems]}
    if known:
        update_queue(desk.store, known.name, settings)
    else:
        _create(desk, entity, name, {"prioritization": "DISABLED", **settings})
    return {"success": True, "configSchemaValidationErrors": [], "clientMutationId": input.get("clientMutationId")}


def delete_run_queues(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Deletes queues in which nothing waits or runs."""
    ask: Ask = info.context
    for queue in [queue_by_id(ask, given, "admin") for given in input["queueIDs"]]:
        ask.desk.store.delete_queue(queue.name)
    return {"success": True, "clientMutationId": input.get("clientMutationId")}


def _create(desk: Desk, entity: str, name: str, settings: Mapping[str, Any]) -> QueueInfo:
    if any(shown_name(desk, queue) == name for queue in queues_of(desk, entity)):
        raise ConflictError(f"queue {name!r} exists already in entity {entity!r}; choose another name")
    if former_entity(desk, name) in (None, entity):
        with suppress(ConflictError):  # another entity's
            return create_queue(desk.store, name, {**settings, "entity": entity})
    return create_queue(desk.store, f"{entity}/{name}", {**settings, "entity": entity})


def _links(given: Any) -> dict[str, str]:
    try:
        return {str(link["label"]): str(link["url"]) for link in given}
    except (TypeError, KeyError) as error:
        raise UsageError('externalLinks: expected {"links": [{"label": …, "url": …}, …]}') from error


def _settings(resource: str, config: str, variables: str | None) -> dict[str, Any]:
    """A queue's settings from W&B's arguments."""
    resource = RESOURCE_NAMES.get(resource, resource)
    given = parsed(config, "config") or {}
    arguments = given.get("resource_args", given)
    if arguments and not isinstance(arguments, dict):
        raise UsageError(f"resource_args are {arguments!r:.80}, expected an object by resource, as {{{resource!r}: …}}")
    if arguments:
        arguments = {RESOURCE_NAMES.get(key, key): value for key, value in arguments.items()}
        if resource not in arguments and "resource_args" not in given:
            arguments = {resource: arguments} if arguments else {}
    schemas = parsed(variables, "templateVariables") or {}
    return {
        "resource": resource,
        "resource_args": {key: value for key, value in arguments.items() if value} if arguments else {},
        "variables": {name: _variable(schema) for name, schema in schemas.items()},
    }


def _variable(given: Any) -> Any:
    """A variable's schema; W&B's form holds it beside its description."""
    if isinstance(given, dict) and isinstance(given.get("schema"), dict):
        told = given.get("description")
        return {**given["schema"], **({"description": told} if told else {})}
    return given


def _must_be_queue(settings: Mapping[str, Any]) -> None:
    _, problems = queue_info(settings)
    if problems:
        raise UsageError("\n".join(map(str, problems)))
