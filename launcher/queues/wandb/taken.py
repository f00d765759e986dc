"""What agents of this machine have taken from a W&B server: their leases with handles and folders, in the local store,
so that they outlive the agent that has them. The store `wandb` calls it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from launcher.item import Item, Lease, RunState
from launcher.queues.sqlite import SqliteStore

HELD, ENDED, AGENT = "taken", "taken-ended", "launch-agent"
REMEMBERED_SECONDS = 86400.0
"""How long it is known of a lease that ended that it was ours: its processes may have to be found."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A lease, and what a W&B server needs to hear with it. `agent`: who has it here; `launch_agent`: as whom it was
    taken there; `there`: its item's ID there; `run`: the entity, project and name of its run; `lines`: how many lines
    the run's log had there before; `acked`: whether the server knows that it was begun with."""

    lease: Lease
    agent: str
    launch_agent: str
    there: str
    run: tuple[str, str, str]
    acked: bool = False
    lines: int = 0
    revision: int = 0

    @property
    def token(self) -> str:
        """The lease's."""
        return self.lease.token


class TakenLeases:
    """The leases of all agents of this machine, and who these are for the server."""

    def __init__(self, local: SqliteStore) -> None:
        self._local = local

    def launch_agent(self, agent: str) -> str | None:
        """As whom the server knows an agent of ours."""
        record = self._local.record(AGENT, agent)
        return str(record.value["id"]) if record else None

    def name_agent(self, agent: str, launch_agent: str | None) -> None:
        """Keep that, or forget it."""
        if launch_agent is None:
            self._local.drop_record(AGENT, agent)
        else:
            self._local.keep_record(AGENT, agent, {"id": launch_agent})

    def held(self, agent: str | None = None) -> list[Taken]:
        """The leases of an agent, or of all."""
        found = [_taken(record.key, record.value, record.revision) for record in self._local.records(HELD)]
        return [taken for taken in found if agent in (None, taken.agent)]

    def find(self, token: str) -> Taken | None:
        """The lease of a token, while it lasts."""
        record = self._local.record(HELD, token)
        return _taken(token, record.value, record.revision) if record else None

    def keep(self, taken: Taken) -> bool:
        """Keep a lease, or what changed of it; False when another process was faster."""
        return self._local.keep_record(HELD, taken.token, _value(taken), taken.revision)

    def begun(self, token: str, handle: Mapping[str, Any], run_dir: str) -> Taken | None:
        """The lease of a run that was started; None when it is over."""
        taken = self.find(token)
        if taken is None or taken.lease.item.handle is not None:
            return taken
        item = replace(
            taken.lease.item, state=RunState.RUNNING, handle=dict(handle), run_dir=run_dir, started_at=time.time()
        )
        self.keep(replace(taken, lease=replace(taken.lease, item=item)))
        return self.find(token)

    def end(self, taken: Taken, *, ours: bool) -> None:
        """A lease is over; `ours`: whether its end was reported, or it was lost."""
        self._local.keep_record(ENDED, f"{taken.lease.item.id}/{taken.token}", {**_value(taken), "ours": ours})
        self._local.drop_record(HELD, taken.token)

    def ended(self, lease: Lease) -> bool:
        """Whether a lease that is over was ours until its end was reported."""
        record = self._local.record(ENDED, f"{lease.item.id}/{lease.token}")
        return record is not None and bool(record.value["ours"])

    def items(self, ids: Collection[str]) -> Iterator[Item]:
        """Those of these items that somebody here has or had."""
        found = {taken.lease.item.id: taken.lease.item for taken in self.held()}
        for item_id in ids:
            records = [] if item_id in found else self._local.records(ENDED, f"{item_id}/")
            for record in records:
                found[item_id] = _taken(record.value["token"], record.value, 0).lease.item
        yield from (found[item_id] for item_id in ids if item_id in found)

    def forget(self) -> None:
        """Forget what is over for long."""
        for record in self._local.records(ENDED):
            if record.changed_at < time.time() - REMEMBERED_SECONDS:
                self._local.drop_record(ENDED, record.key)


def item_from(told: Mapping[str, Any], queue: str, agent: str) -> Item:
    """An item as a server's JSON tells it."""
    known = {field.name for field in fields(Item)}
    given = {name: value for name, value in told.items() if name in known}
    given |= {"state": RunState(told.get("state", RunState.LEASED.value)), "point": tuple(told.get("point") or ())}
    return Item(**{**given, "queue": queue, "agent": agent})


def _value(taken: Taken) -> dict[str, Any]:
    own = {field.name: getattr(taken, field.name) for field in fields(taken) if field.name not in ("lease", "revision")}
    item = {**asdict(taken.lease.item), "state": taken.lease.item.state.value}
    return own | {"token": taken.token, "item": item, "document": taken.lease.document}


def _taken(token: str, value: Mapping[str, Any], revision: int) -> Taken:
    item = item_from(value["item"], value["item"]["queue"], value["agent"])
    names = [field.name for field in fields(Taken) if field.name not in ("lease", "revision", "run")]
    own = {name: value[name] for name in names}
    entity, project, name = value["run"]
    return Taken(Lease(item, token, value["document"]), run=(entity, project, name), revision=revision, **own)
