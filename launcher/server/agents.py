"""W&B's launch agents, as agents of our store. They ask every ten seconds whether to go on; their leases last while
they do, and while their runs are heard of."""

from __future__ import annotations

import base64
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from launcher.errors import NotFoundError, StoreError, UsageError
from launcher.item import AgentInfo, Item, RunState
from launcher.outcome import Lost, Outcome, Preempted
from launcher.server.desk import Ask, Desk, moment, parsed
from launcher.server.leases import finish, lease_node
from launcher.server.queues import queue_by_id
from launcher.server.runs import run_outcome

KIND = "agent"
ACK_SECONDS = 60.0
"""A popped item that is not acknowledged for this long goes back."""

SILENT_SECONDS = 300.0
"""After this long without a word from an agent nor from its run, the run counts as lost."""

FORGOTTEN_SECONDS = 7 * 86400.0
"""After this long an agent that left is forgotten: a cluster may start thousands, and each round reads all of them."""

BEAT_SECONDS = 5.0
OURS = "launcher"
"""How the version begins that agents of ours tell."""

log = logging.getLogger(__name__)


def agent_of(ask: Ask, entity: str, given: str | None) -> str:
    """The ID of the agent that pops, which is heard of by this; a nameless one of the user's where none is given."""
    if given is None:
        return register(ask.desk, f"unnamed-{entity}-{ask.user.name}", entity, (), {"hostname": ask.user.name})
    record = ask.desk.store.record(KIND, given)
    if record is None or record.value["entity"] != entity:
        raise NotFoundError(f"no launch agent {given!r} in entity {entity!r}")
    heard(ask.desk, given)
    return given


def register(desk: Desk, name: str, entity: str, queues: tuple[str, ...], more: Mapping[str, Any]) -> str:
    """Add an agent, or hear of it again."""
    now = time.time()

    def made(before: Mapping[str, Any] | None) -> Mapping[str, Any]:
        return {"entity": entity, "queues": list(queues), "status": "POLLING", **more, **(before or {}), "seen_at": now}

    value = desk.change(KIND, name, made)
    if not any(agent.id == name for agent in desk.store.agents()):
        ours = str(value.get("version")).startswith(f"{OURS} ")
        host = f"{value.get('hostname')} ({'remote' if ours else 'W&B'})"
        desk.store.register(AgentInfo(name, host, 0, 0.0, queues, int(more.get("max_jobs", 1)), now, now))
    return name


def heard(desk: Desk, name: str, **changes: Any) -> Mapping[str, Any]:
    """An agent gave a sign of life, and may have changed its status; returns what is known of it."""

    def change(before: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return None if before is None else {**before, **changes, "seen_at": time.time()}

    value: Mapping[str, Any] | None = desk.change(KIND, name, change)
    if value is None:
        raise NotFoundError(f"no launch agent {name!r}")
    return value


def _own(ask: Ask, name: str, role: str) -> Mapping[str, Any]:
    record = ask.desk.store.record(KIND, name)
    if record is None or record.value["entity"] not in ask.user.roles:
        raise NotFoundError(f"no launch agent {name!r}")
    ask.user.check(record.value["entity"], role)
    return record.value


# -- resolvers --------------------------------------------------------------------------------------------------------


def create_launch_agent(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """An agent begins, for queues of one entity."""
    ask: Ask = info.context
    entity = ask.entity(input["entityName"], "member")
    queues = [queue_by_id(ask, given, "member") for given in input["runQueues"]]
    config = parsed(input.get("agentConfig"), "agentConfig") or {}
    most = config.get("max_jobs", 1)
    more = {
        "hostname": input["hostname"][:200],
        "version": (input.get("version") or "")[:100],
        "max_jobs": most if isinstance(most, int) and 0 < most < 10**6 else 10**6,
    }
    name = f"launch-agent-{secrets.token_hex(4)}"
    return {"launchAgentId": register(ask.desk, name, entity, tuple(queue.name for queue in queues), more)}


def launch_agent(_: Any, info: Any, id: str) -> dict[str, Any]:
    """Query.launchAgent: what an agent asks about itself before each round, which counts as a sign of life."""
    ask: Ask = info.context
    _own(ask, id, "member")
    value = heard(ask.desk, id)
    return {
        "id": id,
        "name": id,
        "runQueues": value["queues"],
        "hostname": value.get("hostname"),
        "agentStatus": value["status"],
        "stopPolling": bool(value.get("stop")),
        "heartbeatAt": moment(value["seen_at"]),
        "leases": lambda _: [lease_node(ask.desk, lease) for lease in ask.desk.store.held(id)],
        "nextDue": lambda _: ask.desk.store.next_due(value["queues"]),
        "patch": lambda _, digest: base64.b64encode(ask.desk.store.patch(digest)).decode(),
    }


def update_launch_agent(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """An agent's status. One that was KILLED holds nothing any more that it has not begun."""
    ask: Ask = info.context
    name, status = input["launchAgentId"], input.get("agentStatus") or "POLLING"
    if status not in ("POLLING", "RUNNING", "KILLED"):
        raise UsageError(f"agentStatus {status!r} is unknown; expected POLLING, RUNNING or KILLED")
    _own(ask, name, "member")
    heard(ask.desk, name, status=status)
    if status == "KILLED":
        for lease in ask.desk.store.held(name):
            if lease.item.state is RunState.LEASED:
                finish(ask.desk, lease.item, Preempted("its agent stopped", begun=False))
        if not ask.desk.store.held(name):  # while its runs go on, it is kept in sight with them
            ask.desk.store.leave(name)
    return {"success": True, "clientMutationId": input.get("clientMutationId")}


class Caretaker:
    """Keeps the leases of W&B's agents while these live, and ends those that nobody minds any more: what was popped and
    not acknowledged, what ran with an agent and a run that are both silent."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._closed = threading.Event()
        self._since = time.time()  # nobody could be heard before that
        self._thread = threading.Thread(target=self._work, daemon=True, name="caretaker")
        self._thread.start()

    def close(self) -> None:
        """Leave the leases to themselves."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._closed.is_set():
            with suppress(StoreError):  # the next round may find the store again
                self.look(time.time())
            self._closed.wait(BEAT_SECONDS)

    def look(self, now: float) -> None:
        """One round over all agents of W&B's, and what none of them took in time."""
        with self._desk.writing:
            self._desk.store.expire()
        alive = {agent.id for agent in self._desk.store.agents()}
        for record in self._desk.store.records(KIND):
            if record.key not in alive:
                if now > record.value["seen_at"] + FORGOTTEN_SECONDS:
                    self._desk.store.drop_record(KIND, record.key)
                continue
            held = self._desk.store.held(record.key)
            if held or now < record.value["seen_at"] + SILENT_SECONDS:
                with self._desk.writing:
                    self._desk.store.heartbeat(record.key)
            else:
                self._desk.store.leave(record.key)
            for lease in held:
                self._end(lease.item, record.value["seen_at"], now)

    def _end(self, item: Item, seen_at: float, now: float) -> None:
        """End a lease that is over. What one run reported must not keep the others' leases from being looked after."""
        try:
            if outcome := self._over(item, seen_at, now):
                finish(self._desk, item, outcome)
        except Exception:
            log.exception("item %s cannot be ended; trying again", item.id)

    def _over(self, item: Item, seen_at: float, now: float) -> Outcome | None:
        if item.state is RunState.LEASED:
            late = now > max(item.changed_at, self._since) + ACK_SECONDS
            return Preempted(f"not acknowledged within {ACK_SECONDS:g} s", begun=False) if late else None
        outcome, run_seen_at = run_outcome(self._desk, item)
        if outcome:
            return outcome
        if now > max(seen_at, run_seen_at, item.changed_at, self._since) + SILENT_SECONDS:
            return Lost(f"neither its agent nor its run was heard of for {SILENT_SECONDS:g} s")
        return None
