"""How a run that an agent of ours took from a W&B server begins and ends there: acknowledged, reported, given up or put
back, each as often as it takes until the server has it, and counted once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from launcher import canonical
from launcher.errors import AccessError
from launcher.item import Lease
from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.queues.wandb.client import Client, RefusedError
from launcher.queues.wandb.outbox import spec_text
from launcher.queues.wandb.queues import PROJECT
from launcher.queues.wandb.reports import LOG, Reports, lines_of
from launcher.queues.wandb.taken import Taken, TakenLeases

CONFLICT = 409


class Ends:
    """Tells a server what became of what was `taken` from it."""

    def __init__(self, client: Client, entity: str, taken: TakenLeases, reports: Reports) -> None:
        self._client = client
        self._entity = entity
        self._taken = taken
        self._reports = reports
        self._hosts: dict[str, bool] = {}

    def heard(self, runs: Mapping[str, Mapping[str, Any]]) -> None:
        """What the server said of runs, by the tokens of their leases."""
        self._hosts |= {token: bool(run.get("host")) for token, run in runs.items()}

    def reports_itself(self, taken: Taken) -> bool:
        """Whether the run's program called `wandb.init`, which says on which host it is: its console, its summary and
        its history are its own to report then."""
        return self._hosts.get(taken.token, False)

    def ack(self, taken: Taken) -> bool:
        """Tell that a run was begun with; False when its lease was over."""
        if taken.acked:
            return True
        try:
            data = self._mutate("ackRunQueueItem", taken, {"runName": ("String!", taken.run[2])})
        except AccessError as error:  # its run is in an entity that is not ours to write to
            self._give_up(taken, Failed("submit", str(error)))
            return False
        if not data["success"] and not self._is_claimed(taken):
            self.over(taken, ours=False)
            return False
        lines = lines_of(self._client, taken.run) if taken.lease.item.attempt > 1 else 0
        self._taken.keep(replace(taken, acked=True, lines=lines))
        self._reports.begin(replace(taken, lines=lines))
        with suppress(RefusedError):
            self._upsert(taken)
        return True

    def finish(self, lease: Lease, outcome: Outcome) -> bool:
        """Tell how a run ended, or the attempt to start one; False when its lease was over."""
        taken = self._taken.find(lease.token)
        if taken is None:
            return self._taken.ended(lease)  # told before, as far as that reached us
        if taken.lease.item.handle is not None and not taken.acked and not isinstance(outcome, Lost | Preempted):
            if not self.ack(taken):
                return False
            taken = self._taken.find(lease.token) or taken
        ours = self._tell(taken, outcome)
        self.over(taken, ours=ours)
        return ours

    def lost(self, held: Iterable[Taken], reason: str) -> None:
        """Put back what an agent held that is lost."""
        for taken in held:
            self.finish(taken.lease, Lost(reason))

    def over(self, taken: Taken, *, ours: bool) -> None:
        """A lease is over."""
        self._taken.end(taken, ours=ours)
        self._reports.forget(taken)
        self._hosts.pop(taken.token, None)

    def _tell(self, taken: Taken, outcome: Outcome) -> bool:
        match outcome:
            case Lost() | Preempted():
                return self._put_back(taken, outcome)
            case _ if not taken.acked:
                failed = outcome if isinstance(outcome, Failed) else Failed("submit", "ended before it was started")
                return self._give_up(taken, failed)
        try:
            return self._report(taken, outcome)
        except RefusedError as refusal:
            if refusal.status == CONFLICT:
                return False
            code = outcome.exit_code if isinstance(outcome, Failed) else None
            return self._give_up(taken, Failed("result", f"the server refused its report: {refusal}", code))

    def _report(self, taken: Taken, outcome: Finished | Failed | Cancelled) -> bool:
        query = """query Run($entity: String!, $project: String!, $name: String!) { project(entityName: $entity,
        name: $project) { run(name: $name) { host } } }"""
        data = self._client.ask(query, **dict(zip(("entity", "project", "name"), taken.run, strict=True)))
        self.heard({taken.token: (data.get("project") or {}).get("run") or {}})
        itself = self.reports_itself(taken)
        if not itself:
            self._reports.end(taken, outcome, still=isinstance(outcome, Failed))
        if isinstance(outcome, Failed) and not self._give_up(taken, outcome):
            return False
        if isinstance(outcome, Failed) or (itself and self._client.leases):
            self._reports.ended(taken, outcome)
        return True

    def _give_up(self, taken: Taken, failed: Failed) -> bool:
        files = [LOG] if taken.lease.item.run_dir else []
        given: dict[str, tuple[str, Any]] = {
            "message": ("String", failed.reason), "stage": ("String", failed.stage), "filePaths": ("[String!]", files),
        }  # fmt: skip
        if self._client.leases and failed.exit_code is not None:
            given["exitCode"] = ("Int", failed.exit_code)
        return bool(self._mutate("failRunQueueItem", taken, given)["success"]) or not self._client.leases

    def _put_back(self, taken: Taken, outcome: Lost | Preempted) -> bool:
        """Ours is told so. W&B's forgets by itself what was not begun with, and takes the rest as a new item."""
        if self._client.leases:
            requeue = "LOST" if isinstance(outcome, Lost) else "PREEMPTED"
            given = {"message": ("String", outcome.reason), "requeue": ("String", requeue)}
            return bool(self._mutate("failRunQueueItem", taken, given)["success"])
        if taken.acked:
            self._reports.ended(taken, None)
            again = replace(taken.lease, item=replace(taken.lease.item, attempt=taken.lease.item.attempt + 1))
            self._client.ask(
                """mutation pushToRunQueueByName($entity: String!, $project: String!, $queue: String!,
                $spec: JSONString!) { pushToRunQueueByName(input: {entityName: $entity, projectName: $project,
                queueName: $queue, runSpec: $spec}) { runQueueItemId } }""",
                entity=self._entity, project=PROJECT, queue=taken.lease.item.queue, spec=spec_text(again, self._entity),
            )  # fmt: skip
        return True

    def _is_claimed(self, taken: Taken) -> bool:
        """Whether a server that knows no tokens has our acknowledgement, and refused to take it twice."""
        if self._client.leases:
            return False
        query = """query GetRunQueueItem($entity: String!, $project: String!, $queue: String!, $id: ID!) {
        project(entityName: $entity, name: $project) { runQueue(name: $queue) { runQueueItem(id: $id)
        { state associatedRunId } } } }"""
        data = self._client.ask(
            query, entity=self._entity, project=PROJECT, queue=taken.lease.item.queue, id=taken.there
        )
        item = ((data.get("project") or {}).get("runQueue") or {}).get("runQueueItem") or {}
        return (item.get("state"), item.get("associatedRunId")) == ("CLAIMED", taken.run[2])

    def _upsert(self, taken: Taken) -> None:
        entity, project, name = taken.run
        config = (taken.lease.document.get("overrides") or {}).get("run_config") or {}
        self._client.ask(
            """mutation UpsertBucket($entity: String!, $project: String!, $name: String!, $display: String,
            $config: JSONString) { upsertBucket(input: {entityName: $entity, modelName: $project, name: $name,
            displayName: $display, config: $config, state: "running"}) { bucket { id } } }""",
            entity=entity, project=project, name=name, display=taken.lease.item.name,
            config=canonical.encode({key: {"value": value} for key, value in config.items()}),
        )  # fmt: skip

    def _mutate(self, name: str, taken: Taken, given: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
        """The answer to a mutation about an item, with the token of its lease where the server has such."""
        given = {"runQueueItemId": ("ID!", taken.there), **given}
        if self._client.leases:
            given["leaseToken"] = ("String", taken.token)
        declared = ", ".join(f"${key}: {kind}" for key, (kind, _) in given.items())
        fields = ", ".join(f"{key}: ${key}" for key in given)
        query = f"mutation {name}({declared}) {{ {name}(input: {{{fields}}}) {{ success }} }}"
        return dict(self._client.ask(query, **{key: value for key, (_, value) in given.items()})[name] or {})
