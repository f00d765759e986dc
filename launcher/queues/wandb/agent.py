"""What the store `wandb` does for agents of ours that work against a server, on whatever machine: W&B's own operations
of a launch agent. Where the server is `launcher serve`, its leases have tokens, and it tells what an agent holds."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

from launcher import canonical
from launcher.errors import AccessError, NotFoundError, SourceError, StoreError
from launcher.item import AgentInfo, Lease, QueueInfo, RunState
from launcher.outcome import Outcome, Preempted
from launcher.queues.wandb.client import LostReplyError, RefusedError
from launcher.queues.wandb.ends import Ends
from launcher.queues.wandb.outbox import NO_PROJECT
from launcher.queues.wandb.queues import PROJECT, WandbQueues
from launcher.queues.wandb.reports import Reports
from launcher.queues.wandb.taken import Taken, TakenLeases, item_from
from launcher.slots import ANY_ROOM, Room
from launcher.waits import Stall

LOOK_SECONDS = {True: 1.0, False: 5.0}
"""How often a server is asked what shall be stopped, and for items while it has none: ours, and W&B's."""

QUEUES_SECONDS = 10.0
ASKED = 50
"""Runs that are asked for in one request."""

POP = """mutation popFromRunQueue($entity: String!, $project: String!, $queue: String!, $agent: ID!{declared}) {{
popFromRunQueue(input: {{entityName: $entity, projectName: $project, queueName: $queue, launchAgentId: $agent{given}}})
{{ runQueueItemId runSpec {asked} }} }}"""
LEASE = "token item spec"


class WandbAgents(WandbQueues):
    """The verbs of agents; see `launcher.queues.Store`."""

    _taken: TakenLeases
    _reports: Reports
    _ends: Ends
    detaches = False
    """The server takes an agent for lost that is silent for some minutes, whatever its runs do."""

    def _serve_agents(self) -> None:
        self._taken = TakenLeases(self._local)
        self._reports = Reports(self._client)
        self._ends = Ends(self._client, self._entity, self._taken, self._reports)
        self._me: str | None = None  # the agent of this process, as the server knows it
        self._looked = self._told_queues_at = -1e9
        self._told_queues: list[QueueInfo] = []
        self._due: float | None = None
        self._polling = True
        self._doubtful = False  # whether a lease was granted, maybe, that we do not know of
        self._stopping: set[str] = set()
        self._empty: dict[str, float] = {}
        self._first = 0

    @property
    def environment(self) -> Mapping[str, str]:
        """See `Store.environment`: programs that call `wandb.init` report to the same server."""
        return {"WANDB_BASE_URL": self._client.base}

    def queues(self) -> list[QueueInfo]:
        """See `Store.queues`; an agent asks very often, and is told what was so some seconds ago."""
        if self._me is None:
            return super().queues()
        if time.monotonic() > self._told_queues_at + QUEUES_SECONDS:
            self._told_queues, self._told_queues_at = self._granted(super().queues), time.monotonic()
        return self._told_queues

    # -- being there --------------------------------------------------------------------------------------------------

    def register(self, agent: AgentInfo) -> None:
        """See `Store.register`. AccessError for a key whose user may run nothing here."""
        self._taken.forget()
        name = self._taken.launch_agent(agent.id)
        if name is None:
            ids = self._queue_ids()
            name = self._client.ask(
                """mutation createLaunchAgent($entity: String!, $project: String!, $queues: [ID!]!, $host: String!,
                $config: JSONString, $version: String) { createLaunchAgent(input: {entityName: $entity,
                projectName: $project, runQueues: $queues, hostname: $host, agentConfig: $config, version: $version})
                { launchAgentId } }""",
                entity=self._entity, project=PROJECT, host=agent.host.partition("/")[0],
                queues=[ids[queue] for queue in agent.queues or ids if queue in ids],
                config=canonical.encode({"max_jobs": agent.max_jobs}), version=f"launcher {version('launcher')}",
            )["createLaunchAgent"]["launchAgentId"]  # fmt: skip
            self._taken.name_agent(agent.id, name)
        self._me = name
        self._local.register(agent)

    def heartbeat(self, agent: str) -> None:
        """See `Store.heartbeat`; what runs print is sent with it."""
        self._local.heartbeat(agent)
        held = self._taken.held(agent)
        for name in self._names(agent, held):
            told = self._ask("query LaunchAgent($id: ID!) { launchAgent(id: $id) { stopPolling } }", id=name)
            if name == self._me:
                self._polling = not (told.get("launchAgent") or {}).get("stopPolling")
        for taken in held:
            if taken.acked and not self._ends.reports_itself(taken):
                self._granted(lambda taken=taken: self._reports.log(taken))

    def leave(self, agent: str) -> None:
        """See `Store.leave`."""
        held = self._taken.held(agent)
        self.finish([(taken.lease, Preempted("its agent stopped", begun=taken.acked)) for taken in held])
        if name := self._taken.launch_agent(agent):
            self._ask(
                """mutation updateLaunchAgent($id: ID!, $status: String) { updateLaunchAgent(input: {launchAgentId: $id,
                agentStatus: $status}) { success } }""",
                id=name, status="KILLED",
            )  # fmt: skip
        self._gone(agent)

    def agents(self, since: float | None = None) -> list[AgentInfo]:
        """See `Store.agents`: those of this machine; the server tells of no others."""
        return self._local.agents(since)

    def adopt(self, dead: str, agent: str, *, beats: int | None = None) -> list[Lease]:
        """See `Store.adopt`: of agents of this machine. The server goes on to know these leases by the old one."""
        if not self._silent(dead, beats):
            return []
        found = [taken for taken in self._taken.held(dead) if self._taken.keep(replace(taken, agent=agent))]
        self._gone(dead)
        return [taken.lease for taken in found]

    def release(self, agent: str, reason: str, *, beats: int | None = None) -> int:
        """See `Store.release`."""
        if not self._silent(agent, beats):
            return 0
        held = self._taken.held(agent)
        self._ends.lost(held, reason)
        self._gone(agent)
        return len(held)

    def _silent(self, agent: str, beats: int | None) -> bool:
        return beats is None or any(each.id == agent and each.beats == beats for each in self._local.agents())

    def _gone(self, agent: str) -> None:
        self._local.leave(agent)
        self._taken.name_agent(agent, None)

    def _names(self, agent: str, held: Iterable[Taken]) -> list[str]:
        """As whom the server knows an agent: also as those whose leases it took over."""
        own = self._taken.launch_agent(agent)
        return list(dict.fromkeys([*([own] if own else []), *(taken.launch_agent for taken in held)]))

    # -- taking items -------------------------------------------------------------------------------------------------

    def pop(self, agent: str, queues: Sequence[str], limit: int, room: Room = ANY_ROOM) -> list[Lease]:
        """See `Store.pop`: one at a time, from each of the queues in turn."""
        name = self._taken.launch_agent(agent)
        if limit < 1 or name is None or not self._polling:
            return []
        if self._doubtful and (granted := self._granted_before(agent, name)):  # the server was away since
            return [taken.lease for taken in granted]
        self._first += 1
        start = self._first % max(1, len(queues))
        for queue in [*queues[start:], *queues[:start]]:
            if time.monotonic() >= self._empty.get(queue, 0.0) and (taken := self._pop(agent, name, queue, room)):
                return [taken.lease]
        return []

    def _pop(self, agent: str, name: str, queue: str, room: Room) -> Taken | None:
        ours = self._client.leases
        more = {"declared": ", $room: JSONString", "given": ", room: $room", "asked": f"lease {{ {LEASE} }}"}
        query = POP.format(**more if ours else dict.fromkeys(more, ""))
        given = {"room": canonical.encode(asdict(room))} if ours else {}
        try:
            told = self._granted(
                lambda: self._client.once(query, entity=self._entity, project=PROJECT, queue=queue, agent=name, **given)
            )["popFromRunQueue"]
        except LostReplyError:
            self._doubtful = True
            if not ours:
                raise
            return next(iter(self._granted_before(agent, name)), None)
        if not told:
            if not ours:
                self._empty[queue] = time.monotonic() + LOOK_SECONDS[False]
            return None
        lease = told.get("lease") or self._as_lease(told, queue)
        return self._take(agent, name, queue, lease, told["runQueueItemId"])

    def _granted_before(self, agent: str, name: str) -> list[Taken]:
        """What was leased to us by an answer that did not reach us. W&B's server takes it back after a minute."""
        found: list[Taken] = []
        if self._client.leases:
            known = {taken.token for taken in self._taken.held(agent)}
            query = f"query LaunchAgent($id: ID!) {{ launchAgent(id: $id) {{ leases {{ {LEASE} }} }} }}"
            told = self._ask(query, id=name)["launchAgent"]["leases"]
            new = [lease for lease in told if lease["token"] not in known]
            found = [self._take(agent, name, each["item"]["queue"], each, each["item"]["id"]) for each in new]
        self._doubtful = False
        return found

    def _as_lease(self, told: Mapping[str, Any], queue: str) -> dict[str, Any]:
        """What W&B's server gives, as ours does. A run whose spec names none gets its ID here."""
        spec = canonical.decode(told["runSpec"]) if isinstance(told["runSpec"], str) else dict(told["runSpec"])
        now, attempt = time.time(), 1 + int(spec.get("_resume_count") or 0)
        item = {
            "id": spec.get("run_id") or secrets.token_hex(4), "sweep": spec.get("sweep_id"), "priority": 2,
            "name": spec.get("name"), "attempt": attempt, "max_attempts": attempt, "added_at": now, "changed_at": now,
        }  # fmt: skip
        resource = next((each.resource for each in self.queues() if each.name == queue), None)
        return {
            "token": secrets.token_hex(16), "item": item, "spec": {**spec, "resource": spec.get("resource") or resource}
        }  # fmt: skip

    def _take(self, agent: str, name: str, queue: str, told: Mapping[str, Any], there: str) -> Taken:
        item = item_from({**told["item"], "state": RunState.LEASED.value}, queue, agent)
        entity, project = told["spec"].get("entity") or self._entity, told["spec"].get("project") or NO_PROJECT
        document = {**told["spec"], "entity": entity, "project": project}  # wandb.init would choose others
        taken = Taken(Lease(item, told["token"], document), agent, name, there, (entity, project, item.id))
        self._taken.keep(taken)
        return taken

    def ack(self, started: Iterable[tuple[Lease, Mapping[str, Any], str]]) -> list[bool]:
        """See `Store.ack`. Handles are kept here, all of them before the server is told of the first."""
        begun = [self._taken.begun(lease.token, handle, run_dir) for lease, handle, run_dir in started]
        return [taken is not None and self._granted(lambda taken=taken: self._ends.ack(taken)) for taken in begun]

    def finish(self, ended: Iterable[tuple[Lease, Outcome]]) -> list[bool]:
        """See `Store.finish`."""
        self._looked = -1e9  # something may be due now
        return [self._granted(lambda one=one: self._ends.finish(*one)) for one in ended]

    def exchange(  # noqa: PLR0913 - those of three verbs
        self, agent: str, started: Iterable[tuple[Lease, Mapping[str, Any], str]],
        ended: Iterable[tuple[Lease, Outcome]], queues: Sequence[str], limit: int, room: Room = ANY_ROOM,
    ) -> tuple[list[bool], list[bool], list[Lease]]:  # fmt: skip
        """See `Store.exchange`."""
        begun = self.ack(list(started))
        over = list(ended)
        done = self.finish(over) if over else []
        return begun, done, self.pop(agent, queues, limit, room)

    # -- what became of leases ----------------------------------------------------------------------------------------

    def leases(self, agent: str) -> dict[str, bool]:
        """See `Store.leases`: as the server said a moment ago."""
        if time.monotonic() >= self._looked + LOOK_SECONDS[self._client.leases]:
            self._look(agent)
        return {taken.token: taken.token in self._stopping for taken in self._taken.held(agent)}

    def held(self, agent: str) -> list[Lease]:
        """See `Store.held`."""
        return [taken.lease for taken in self._taken.held(agent)]

    def valid(self, tokens: Collection[str]) -> set[str]:
        """See `Store.valid`: of those that are held on this machine."""
        return {taken.token for taken in self._taken.held()} & set(tokens)

    def next_due(self, queues: Sequence[str]) -> float | None:  # noqa: ARG002 - a store's
        """See `Store.next_due`: of all queues of the agent; W&B's server does not say."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def _look(self, agent: str) -> None:
        """Ask which leases are ours still, what runs shall be stopped, and when there is more to do."""
        held = self._taken.held(agent)
        if self._client.leases:
            told = [self._agent_told(name) for name in self._names(agent, held)]
            dues = [each["nextDue"] for each in told if each["nextDue"] is not None]
            self._due = time.monotonic() + min(dues) if dues else None
            there = {lease["token"] for each in told for lease in each["leases"]}
            for taken in held:
                if taken.token not in there:
                    self._ends.over(taken, ours=False)
            held = [taken for taken in held if taken.token in there]
        for taken in held:
            if taken.lease.item.handle is not None:  # its agent may have died before it could tell
                self._granted(lambda taken=taken: self._ends.ack(taken))
        running = [taken for taken in held if taken.lease.item.handle is not None]
        self._stopping = {
            token for start in range(0, len(running), ASKED) for token in self._stopped(running[start : start + ASKED])
        }
        self._looked = time.monotonic()

    def _agent_told(self, name: str) -> Mapping[str, Any]:
        query = "query LaunchAgent($id: ID!) { launchAgent(id: $id) { stopPolling nextDue leases { token } } }"
        return dict(self._ask(query, id=name)["launchAgent"])

    def _stopped(self, held: Sequence[Taken]) -> list[str]:
        """The tokens of those of these runs that somebody asked to stop."""
        fields = " ".join(
            f"r{n}: project(entityName: $e{n}, name: $p{n}) {{ run(name: $n{n}) {{ stopped host }} }}"
            for n in range(len(held))
        )
        declared = ", ".join(f"${letter}{n}: String!" for n in range(len(held)) for letter in "epn")
        given = {
            f"{letter}{n}": part for n, each in enumerate(held) for letter, part in zip("epn", each.run, strict=True)
        }
        data = self._ask(f"query RunStoppedStatus({declared}) {{ {fields} }}", **given) if held else {}
        runs = {taken.token: (data.get(f"r{n}") or {}).get("run") or {} for n, taken in enumerate(held)}
        self._ends.heard(runs)
        return [token for token, run in runs.items() if run.get("stopped")]

    # -- what agents beside a store of ours do for it, and nobody does from here --------------------------------------

    def expire(self) -> int:
        """See `Store.expire`: the server looks for itself."""
        return 0

    def fail_unfit(
        self, queue: str, rooms: Sequence[Mapping[str, float]], reason: str, *, seconds: float = 0,  # noqa: ARG002
    ) -> int:  # fmt: skip
        """See `Store.fail_unfit`: nobody here knows all agents of a queue."""
        return 0

    def stalled(self, stalls: Iterable[Stall]) -> None:
        """See `Store.stalled`: the server keeps none."""

    def take_notice(self, agent: str) -> None:
        """See `Store.take_notice`: agents beside the server's store send its notices."""

    def patch(self, digest: str) -> bytes:
        """See `Store.patch`: for an agent the server's, else of what is added from here, until a job is made of it.
        SourceError where the server gives none."""
        if self._me is None:
            return self._local.patch(digest)
        if not self._client.leases:
            raise SourceError(f"its code has uncommitted changes ({digest[:12]}), which {self.url} does not keep")
        query = "query Patch($id: ID!, $digest: String!) { launchAgent(id: $id) { patch(digest: $digest) } }"
        try:
            return base64.b64decode(self._ask(query, id=self._me, digest=digest)["launchAgent"]["patch"])
        except RefusedError as error:
            raise NotFoundError(str(error)) from error

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        return dict(self._granted(lambda: self._client.ask(query, **variables)))

    def _granted(self, ask: Any) -> Any:
        """What `ask` gives; an agent that is at work goes on with its runs although its key does no longer do."""
        try:
            return ask()
        except AccessError as error:
            raise StoreError(str(error)) from error
