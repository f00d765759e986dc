"""Agents of W&B's sweeps: `wandb agent`, and the workers of `wandb scheduler`. Each asks every few seconds what to do,
and is handed a point of the search when it has nothing to run. A point is handed out once; again only when nobody can
have begun with it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from launcher import canonical
from launcher.errors import NotFoundError
from launcher.item import Record
from launcher.server import runs, sweeps
from launcher.server.agents import SILENT_SECONDS
from launcher.server.desk import Ask, Desk, parsed, parts_of, storage_id
from launcher.server.search import config_of, search_of

KIND = "sweep_agent"
"""Records of agents, by entity/project/sweep/agent."""

DIGITS = 12
"""Of a point's number in the key of its run, so that keys sort as numbers do."""


def create_agent(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """An agent begins; the first one of a sweep sets it going."""
    ask: Ask = info.context
    key, value = sweeps.found_sweep(ask, input.get("entityName"), input.get("projectName"), input["sweep"], "member")
    name = secrets.token_hex(8)
    told = {"host": input["host"][:200], "user": ask.user.name, "seen_at": time.time()}
    ask.desk.store.keep_record(KIND, f"{key}/{name}", told)
    if value["state"] == "PENDING":
        sweeps.change_state(ask.desk, key, "RUNNING", only="PENDING")
    return {"agent": {"id": storage_id("SweepAgent", *key.split("/"), name)}}


def agent_heartbeat(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """An agent tells which runs it has, and hears what to do."""
    ask: Ask = info.context
    entity, project, name, agent = parts_of(input["id"], "SweepAgent", 4)
    key, value = sweeps.found_sweep(ask, entity, project, name, "member")
    reported = parsed(input.get("runState"), "runState") or {}
    alive = {run for run, lives in reported.items() if lives}

    def seen(before: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return before and {**before, "seen_at": time.time()}

    if ask.desk.change(KIND, f"{key}/{agent}", seen) is None:
        raise NotFoundError(f"no agent {input['id'][:80]!r} of sweep {name!r}; begin again: wandb agent")
    if not value["scheduler"]:
        _bury(ask.desk, key, agent, alive)
    commands = _commands(ask, key, sweeps.settled(ask.desk, key, value), agent, alive)
    return {"agent": {"id": input["id"]}, "commands": canonical.encode(commands)}


def forget_agents(desk: Desk, key: str) -> None:
    """A sweep begins again: what its former agents were handed and did not begin with is handed out again."""
    for record in desk.store.records(KIND, f"{key}/"):
        desk.store.drop_record(KIND, record.key)


def _commands(ask: Ask, key: str, value: dict[str, Any], agent: str, alive: set[str]) -> list[dict[str, Any]]:
    state = value["state"]
    over = state == "FINISHED" and not value["scheduler"] and not alive
    if state == "CANCELED" or over:  # a scheduler sees by itself that its sweep is FINISHED; told to exit, it cancels
        return [{"type": "exit"}]
    stops = list(_stops(ask.desk, key, alive)) if not value["scheduler"] else []
    if state != "RUNNING" or alive or not value["searched"]:
        return stops
    command = _next(ask, key, value, agent)
    return [command] if command else []


def _stops(desk: Desk, key: str, alive: set[str]) -> Iterator[dict[str, Any]]:
    """Those of an agent's runs that somebody stopped."""
    where = key.rpartition("/")[0]
    for name in sorted(alive):
        record = desk.store.record(runs.KIND, f"{where}/{name}")
        if record and record.value.get("stop"):
            yield {"type": "stop", "run_id": name}


def _bury(desk: Desk, key: str, agent: str, alive: set[str]) -> None:
    """What `wandb agent` was handed and does not run any more has crashed, if it never reported anything itself."""

    def crashed(before: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return None if before is None or before["initialized"] else {**before, "ended": "crashed"}

    for given, begun in sweeps.open_runs(desk, key, sweeps.given_runs(desk, key)):
        if given.value["agent"] == agent and not begun and given.value["run"] not in alive:
            desk.change(runs.KIND, f"{key.rpartition('/')[0]}/{given.value['run']}", crashed)


def _next(ask: Ask, key: str, value: Mapping[str, Any], agent: str) -> dict[str, Any] | None:
    """The next run of a sweep, now this agent's; None when there is none to begin."""
    desk, search = ask.desk, search_of(value["config"])
    handed = sweeps.given_runs(desk, key)
    for given, begun in sweeps.open_runs(desk, key, handed):
        if begun or not _orphaned(desk, key, given, agent):
            continue
        if desk.store.keep_record(sweeps.GIVEN, given.key, {**given.value, "agent": agent}, given.revision):
            return _command(ask, key, value, given.key, given.value["run"])
    number = len(handed)
    while search.size is None or number < search.size:
        name = "".join(secrets.choice(runs.LETTERS) for _ in range(8))
        place = f"{key}/{number:0{DIGITS}}"
        if desk.store.keep_record(sweeps.GIVEN, place, {"run": name, "agent": agent, "ended": False}):
            return _command(ask, key, value, place, name)
        number += 1  # another agent was faster
    return None


def _orphaned(desk: Desk, key: str, given: Record, agent: str) -> bool:
    """Whether nobody will begin with a run that was handed out: the worker of a scheduler queues it before it asks
    again, and `wandb agent` has begun with it, unless it is gone."""
    if given.value["agent"] == agent:
        return True
    record = desk.store.record(KIND, f"{key}/{given.value['agent']}")
    return record is None or time.time() > record.value["seen_at"] + SILENT_SECONDS


def _command(ask: Ask, key: str, value: Mapping[str, Any], place: str, run: str) -> dict[str, Any]:
    """The command to begin with a run, which exists from now on."""
    point = search_of(value["config"]).point(int(place.rpartition("/")[2]), value["name"])
    entity, project, name = key.split("/")
    arguments = {parameter: {"value": chosen} for parameter, chosen in point.items()}
    record = runs.new(entity, project, run, ask.user.name) | {"sweep": name, "config": arguments}
    ask.desk.store.keep_record(runs.KIND, f"{entity}/{project}/{run}", record)
    program = config_of(value["config"]).get("program")
    return {"type": "run", "run_id": run, "args": arguments, "program": program, "logs": []}
