"""Sweeps of W&B's: their config, their state, the runs that were handed out for them. Under the same name they are
sweeps of our store, in which the items that carry their ID lie."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.errors import NotFoundError, UsageError
from launcher.item import GOALS, ItemFilter, Record, RunState, Sweep
from launcher.server import runs
from launcher.server.desk import Ask, Desk, checked, moment, page, parts_of, project_name, storage_id
from launcher.server.search import config_of, search_of

KIND, GIVEN, NAMES = "sweep", "sweep_run", "sweep_name"
"""Records: sweeps by entity/project/name; runs handed out by entity/project/name/number; a name's entity."""

STATES = ("PENDING", "RUNNING", "PAUSED", "FINISHED", "CANCELED")
OVER = ("FINISHED", "CANCELED")
LONGEST_NAME = 128


def key_of(entity: str, project: str, name: str) -> str:
    """The key of a sweep's record; UsageError for names that are none."""
    return "/".join([checked(entity, "entity", 64), checked(project, "project"), checked(name, "sweep")])


def found_sweep(ask: Ask, entity: str | None, project: str | None, name: str, role: str) -> tuple[str, dict[str, Any]]:
    """The key and the record of a sweep, if the user has this role in its entity."""
    entity, project = ask.entity(entity, role), project_name(project)
    key = key_of(entity, project, name)
    record = ask.desk.store.record(KIND, key)
    if record is None:
        raise NotFoundError(f"no sweep {name!r} in {entity}/{project}")
    return key, dict(record.value)


def sweep_by_id(ask: Ask, given: str, role: str) -> tuple[str, dict[str, Any]]:
    """The key and the record of the sweep of an ID, if the user has this role in its entity."""
    entity, project, name = parts_of(given, "Sweep", 3)
    return found_sweep(ask, entity, project, name, role)


def known_sweep(desk: Desk, document: Mapping[str, Any]) -> bool:
    """Whether the `sweep_id` of a spec is a sweep of W&B's here: its agents refuse what is of none."""
    try:
        key = key_of(document.get("entity") or "", document.get("project") or "uncategorized", document["sweep_id"])
    except UsageError:
        return False
    return desk.store.record(KIND, key) is not None


def sweep_of(desk: Desk, document: Mapping[str, Any]) -> Sweep | None:
    """The sweep of our store that the item of a spec belongs to: the one that it names."""
    name = document.get("sweep_id")
    if not name:
        return None
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(f"sweep_id {name[:80]!r} is none; expected at most {LONGEST_NAME} characters on one line")
    entity = str(document.get("entity"))
    told = store_name(desk, entity, name)
    if not known_sweep(desk, document):
        return Sweep(told)
    record = desk.store.record(KIND, key_of(entity, document["project"], name))
    metric = (record and record.value.get("metric")) or {}
    return Sweep(told, metric.get("name"), metric.get("goal", GOALS[0]))


def store_name(desk: Desk, entity: str, name: str) -> str:
    """What our store calls an entity's sweep: its name, while no other entity had a sweep of that name before."""
    if "/" in name:
        return f"{entity}/{name}"
    record = desk.store.record(NAMES, name)
    if record is None:
        beside = any(sweep.name == name for sweep in desk.store.sweeps())
        desk.store.keep_record(NAMES, name, {"entity": desk.home if beside else entity})
        record = desk.store.record(NAMES, name)
    assert record
    return name if record.value["entity"] == entity else f"{entity}/{name}"


def metric_of(config: Mapping[str, Any]) -> dict[str, str] | None:
    """How a sweep's results are ranked, as its config says."""
    metric = config.get("metric")
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        return None
    return {"name": metric["name"], "goal": "maximize" if metric.get("goal") == "maximize" else "minimize"}


# -- runs that were handed out ----------------------------------------------------------------------------------------


def given_runs(desk: Desk, key: str) -> list[Record]:
    """The runs of a sweep that were handed out, by their numbers."""
    return desk.store.records(GIVEN, f"{key}/")


def run_of(desk: Desk, key: str, given: Record) -> tuple[Mapping[str, Any] | None, str, bool]:
    """A run that was handed out: its record, its state, and whether anybody began with it, or queued it."""
    entity, project, _ = key.split("/")
    name = str(given.value["run"])
    record = desk.store.record(runs.KIND, f"{entity}/{project}/{name}")
    if record is None:
        return None, "pending", False
    value = record.value
    item = runs.item_of_run(desk, entity, project, name, value)
    begun = bool(item or value["initialized"] or value["ended"])
    return value, runs.state_of(value, item, time.time()), begun


def open_runs(desk: Desk, key: str, handed: Sequence[Record]) -> list[tuple[Record, bool]]:
    """Those that have not ended, each with whether it was begun. What has ended is noted, and not looked up again."""
    found = []
    for given in handed:
        if given.value["ended"]:
            continue
        _, state, begun = run_of(desk, key, given)
        if state in runs.ENDED:
            desk.store.keep_record(GIVEN, given.key, {**given.value, "ended": True}, given.revision)
        else:
            found.append((given, begun))
    return found


def give_up(desk: Desk, document: Mapping[str, Any], item_id: str) -> None:
    """The item of a run that was handed out is deleted: the run is over, if nobody began with it."""

    def change(before: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        waits = before and before.get("sweep") and not before["initialized"] and not before["ended"]
        return {**before, "ended": "killed"} if before and waits else None

    desk.change(runs.KIND, f"{document.get('entity')}/{document.get('project')}/{item_id}", change)


def settled(desk: Desk, key: str, value: dict[str, Any]) -> dict[str, Any]:
    """A sweep's record as it is now: FINISHED, when all its points were handed out and their runs have ended."""
    if value["state"] != "RUNNING" or not value["searched"]:
        return value
    size = search_of(value["config"]).size
    handed = given_runs(desk, key) if size is not None else []
    if size is None or len(handed) < size or open_runs(desk, key, handed):
        return value
    return change_state(desk, key, "FINISHED", only="RUNNING")


def change_state(desk: Desk, key: str, state: str, *, only: str | None = None) -> dict[str, Any]:
    """Give a sweep a state (where it has the state `only`); returns its record."""

    def change(before: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if before is None or only not in (None, before["state"]):
            return None
        return {**before, "state": state, "updated_at": time.time()}

    value = desk.change(KIND, key, change)
    if value is None:
        raise NotFoundError(f"no sweep {key!r}")
    return dict(value)


def end_runs(ask: Ask, key: str, value: Mapping[str, Any]) -> None:
    """What a sweep's new state means for its runs: of one that is FINISHED, nothing new begins; of one that is
    CANCELED, nothing goes on either."""
    desk, name = ask.desk, value["name"]
    states = None if value["state"] == "CANCELED" else frozenset({RunState.PENDING})
    with desk.writing:
        desk.store.cancel(ItemFilter(sweep=store_name(desk, value["entity"], name), states=states), ask.user.name)
        if value["scheduler"]:
            waiting = ItemFilter(ids=(name,), states=frozenset({RunState.PENDING}))
            desk.store.cancel(waiting, ask.user.name)
    if value["state"] != "CANCELED":
        return
    for given, _ in open_runs(desk, key, given_runs(desk, key)):
        run = f"{key.rpartition('/')[0]}/{given.value['run']}"
        desk.change(runs.KIND, run, lambda before: before and {**before, "stop": True})


# -- resolvers --------------------------------------------------------------------------------------------------------


def node(ask: Ask, key: str, value: dict[str, Any]) -> dict[str, Any]:
    """A GraphQL Sweep."""
    value = settled(ask.desk, key, value)
    entity, project, name = value["entity"], value["project"], value["name"]
    return {
        "id": storage_id("Sweep", entity, project, name),
        "name": name,
        "method": value["method"],
        "state": value["state"],
        "description": value.get("description"),
        "displayName": value.get("display_name"),
        "config": value["config"],
        "createdAt": moment(value["created_at"]),
        "heartbeatAt": moment(value.get("seen_at") or value["created_at"]),
        "updatedAt": moment(value["updated_at"]),
        "earlyStopJobRunning": False,
        "scheduler": value["scheduler"],
        "controllerRunName": name if value["scheduler"] else None,
        "runCountExpected": search_of(value["config"]).size if value["searched"] else None,
        "project": {"entity_name": entity, "project_name": project},
        "key": key,
    }


def sweep(parent: Mapping[str, Any], info: Any, sweepName: str) -> dict[str, Any] | None:
    """Project.sweep: by its name, which is its ID to W&B's client; None where there is none."""
    ask: Ask = info.context
    try:
        key, value = found_sweep(ask, parent["entity_name"], parent["project_name"], sweepName, "viewer")
    except (NotFoundError, UsageError):
        return None
    return node(ask, key, value)


def sweeps(
    parent: Mapping[str, Any], info: Any, after: str | None = None, first: int | None = None, **_: Any
) -> dict[str, Any]:
    """Project.sweeps."""
    ask: Ask = info.context
    records = ask.desk.store.records(KIND, f"{parent['entity_name']}/{parent['project_name']}/")
    found = page([record.value for record in records], after, min(first or 50, 200), lambda each: str(each["name"]))
    for edge in found["edges"]:
        value = dict(edge["node"])
        edge["node"] = node(ask, key_of(value["entity"], value["project"], value["name"]), value)
    return found


def run_names(ask: Ask, parent: Mapping[str, Any]) -> list[str]:
    """The names of a sweep's runs: those that were handed out, and those that say that they belong to it."""
    entity, project, name = parent["key"].split("/")
    handed = [record.value["run"] for record in given_runs(ask.desk, parent["key"])]
    records = () if handed else ask.desk.store.records(runs.KIND, f"{entity}/{project}/")
    return handed or [record.value["name"] for record in records if record.value.get("sweep") == name]


def sweep_runs(parent: Mapping[str, Any], info: Any) -> dict[str, Any]:
    """Sweep.runs."""
    ask: Ask = info.context
    entity, project, _ = parent["key"].split("/")
    found = [runs.found_run(ask, entity, project, name) for name in run_names(ask, parent)]
    return page([each for each in found if each], None, None, lambda run: str(run["name"]))


def searchable(text: str, scheduler: Mapping[str, Any] | None) -> tuple[dict[str, Any], bool]:
    """A config, and whether this server searches for it: not where a scheduler's job does so by itself. UsageError for
    one that nobody searches for."""
    config = config_of(text)
    if scheduler and scheduler.get("job"):
        return config, False
    search_of(text)
    return config, True
