"""The store `wandb+https://HOST`: queues of a W&B server (or of `launcher serve`), filled from here, run by agents
there, or by ours from anywhere. Sweeps and items are kept in a local outbox; what became of them is asked for when
somebody looks."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import canonical
from launcher.errors import StoreError
from launcher.item import Attempt, Count, Event, Item, ItemFilter, LogEntry, Receipt, RunState, Sweep
from launcher.outcome import Cancelled, Failed, Finished, Outcome
from launcher.queues.sqlite import SqliteStore
from launcher.queues.wandb.agent import WandbAgents
from launcher.queues.wandb.client import RefusedError, client_of
from launcher.queues.wandb.jobs import WandbJobs
from launcher.queues.wandb.outbox import NO_PROJECT, SENDER, Outbox
from launcher.queues.wandb.queues import PROJECT
from launcher.queues.wandb.records import WAITING, WandbRecords
from launcher.waits import Blocker, Stall

if TYPE_CHECKING:
    from launcher.spec import LaunchSpec

FRESH_SECONDS = 1.0
"""How long what the server said about items is taken for true."""

ASKED = 50
"""Items that are asked for in one request."""

CANNOT = {
    "hold": "pause items: W&B's protocol has nothing for it; cancel them, and add them again",
    "resume": "resume items: W&B's protocol has nothing for it",
    "version": "be looked after from here: its data is the server's",
    "check": "be checked from here: its data is the server's",
    "backup": "be copied from here: its data is the server's",
    "alias_job": "name versions of jobs from here; do it beside the server",
}
"""What W&B's protocol has nothing for, in the words of an error."""

ENDED = {"finished": "finished", "failed": "failed", "crashed": "failed", "killed": "cancelled"}


class WandbStore(WandbAgents, WandbRecords, WandbJobs):
    """See `launcher.queues.Store`."""

    renders = False
    """Template variables go to the server as they are; it fills them in."""

    def __init__(self, url: str, *, read_only: bool = False, as_is: bool = False) -> None:  # noqa: ARG002 - a store's
        self.url = url
        self._client, entity = client_of(url)
        self._entity = entity or str(self._client.login()["entity"])
        self._local = SqliteStore(f"sqlite:///{outbox_path(self._client.base, self._entity)}")
        self._outbox = Outbox(self._local, self._client, self._entity, PROJECT)
        self._remote: dict[str, str] = {}
        self._asked = -FRESH_SECONDS
        self._serve_agents()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def refuse(*_: Any, **__: Any) -> Any:
            raise StoreError(f"store {self.url} cannot {CANNOT.get(name, name.replace('_', ' '))}")

        return refuse

    def close(self) -> None:
        """See `Store.close`."""
        self._local.close()

    def wait(self, wake: threading.Event, timeout: float) -> bool:
        """See `Store.wait`: the server tells nobody, so the time passes, but not much of it."""
        wake.wait(min(timeout, FRESH_SECONDS))
        return True

    # -- adding -------------------------------------------------------------------------------------------------------

    def push(self, sweep: Sweep | None, specs: Iterable[LaunchSpec], *, again: bool = False) -> Receipt:
        """See `Store.push`: the sweep is kept here as a whole, then its items are sent one by one. StoreError when that
        was interrupted, or the server refused some; the same command goes on with the rest."""
        if sweep and sweep.notify:
            raise StoreError(f"store {self.url} cannot notify: the server's agents run its items; leave notify out")
        queues = self._mirrored()
        receipt = self._local.push(sweep, specs, again=again)
        refused = self._outbox.send(queues)
        if refused:
            causes = "\n".join(f"  {number} ×: {text}" for text, number in Counter(refused).most_common(10))
            raise StoreError(f"{self._client.base} refused {len(refused)} of the items:\n{causes}")
        if sweep and receipt.present:
            states = Counter(item.state for item in self.items(ItemFilter(sweep=sweep.name)))
            states[RunState.PENDING] -= receipt.added + receipt.retried
            receipt = replace(receipt, present_states={state: states[state] for state in RunState if states[state] > 0})
        return receipt

    # -- people's verbs -----------------------------------------------------------------------------------------------

    def items(self, which: ItemFilter) -> Iterator[Item]:
        """See `Store.items`: what was added from here and, where they are named, what agents here took."""
        self._refresh()
        states, ours = which.states, set()
        for item in self._local.items(replace(which, states=None)):
            seen = self._seen(item)
            ours.add(seen.id)
            if states is None or seen.state in states:
                yield seen
        yield from self._taken.items([each for each in which.ids or () if each not in ours])

    def item(self, prefix: str) -> Item:
        """See `Store.item`."""
        self._refresh()
        return self._seen(self._local.item(prefix))

    def _seen(self, item: Item) -> Item:
        """An item as the server sees it: what is sent runs only when an agent there has begun with it."""
        item = replace(item, run_dir=None)
        if self._waits(item.id, item.state):
            return replace(item, state=RunState.PENDING, started_at=None, agent=None)
        return item

    def _waits(self, item_id: str, state: RunState) -> bool:
        return state is RunState.RUNNING and self._remote.get(item_id, WAITING[0]) in WAITING

    def counts(self) -> list[Count]:
        """See `Store.counts`."""
        tally = Counter((item.queue, item.sweep, item.state) for item in self.items(ItemFilter()))
        return [Count(queue, sweep, state, number) for (queue, sweep, state), number in tally.items()]

    def holds(self) -> list[Count]:
        """See `Store.holds`."""
        return self._local.holds()

    def document(self, item_id: str) -> dict[str, Any]:
        """See `Store.document`."""
        return self._local.document(item_id)

    def events(self, item_id: str) -> list[Event]:
        """See `Store.events`: as they were noticed here."""
        return self._local.events(item_id)

    def attempts(self, item_id: str) -> list[Attempt]:
        """See `Store.attempts`."""
        return self._local.attempts(item_id)

    def log(self, which: ItemFilter, *, after: int = 0, since: float | None = None, limit: int) -> list[LogEntry]:
        """See `Store.log`: what was noticed here."""
        self._refresh()
        return self._local.log(which, after=after, since=since, limit=limit)

    def sweeps(self) -> list[Sweep]:
        """See `Store.sweeps`: those that were added from here."""
        return self._local.sweeps()

    def blockers(self, queues: Sequence[str]) -> list[Blocker]:  # noqa: ARG002 - a store's
        """See `Store.blockers`: what keeps items there is not told here."""
        return []

    def stalls(self, item_id: str) -> list[Stall]:  # noqa: ARG002 - a store's
        """See `Store.stalls`."""
        return []

    def ahead(self, item_id: str) -> int:
        """See `Store.ahead`: of those that were added from here."""
        item = self.item(item_id)
        order = sorted(
            self.items(ItemFilter(queue=item.queue, states=frozenset({RunState.PENDING}))),
            key=lambda each: each.priority,
        )
        return next((place for place, each in enumerate(order) if each.id == item_id), 0)

    def cancel(self, which: ItemFilter, actor: str) -> tuple[int, int]:
        """See `Store.cancel`: what waits there is deleted there, what runs is asked to stop."""
        waiting = stopping = 0
        for item in list(self.items(which)):
            if item.state is RunState.PENDING and self._delete_remote(item):
                waiting += self._end({item.id: Cancelled("cancelled while waiting")})
            elif item.state is RunState.RUNNING:
                stopping += self._stop(item)
        unsent, _ = self._local.cancel(replace(which, states=frozenset({RunState.PENDING})), actor)
        return waiting + unsent, stopping

    def retry(self, which: ItemFilter, actor: str) -> int:
        """See `Store.retry`: these are sent again."""
        self._refresh()
        queues = self._mirrored()
        number = self._local.retry(which, actor)
        if number and (refused := self._outbox.send(queues)):
            raise StoreError(f"{self._client.base} refused {len(refused)} of the items: {refused[0]}")
        return number

    def delete(self, which: ItemFilter) -> int:
        """See `Store.delete`."""
        for item in list(self.items(which)):
            if item.state is RunState.PENDING and self._delete_remote(item):
                self._end({item.id: Cancelled("deleted")})
        return self._local.delete(which)

    def set_priority(self, which: ItemFilter, priority: int) -> int:  # noqa: ARG002 - a store's
        """See `Store.set_priority`: StoreError, for W&B has no such operation."""
        raise StoreError(f"store {self.url} cannot change priorities of waiting items: cancel them, and add them again")

    def _delete_remote(self, item: Item) -> bool:
        remote = (item.handle or {}).get("wandb_item")
        if remote is None:
            return False
        ids = self._queue_ids()
        try:
            self._client.ask(
                """mutation DeleteFromRunQueue($queueID: ID!, $item: ID!) { deleteFromRunQueue(input: {
                queueID: $queueID, runQueueItemId: $item}) { success } }""",
                queueID=ids.get(item.queue, ""),
                item=remote,
            )
        except RefusedError:
            return False  # an agent was faster
        return True

    def _stop(self, item: Item) -> bool:
        found = self._states([item]).get(item.id)
        run = found and found[1]
        if not run:
            return False
        self._client.ask("mutation StopRun($id: ID!) { stopRun(input: {id: $id}) { success } }", id=run["id"])
        return True

    # -- what the server says -----------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """End the items here that have ended there, and see which of the others run."""
        if time.monotonic() < self._asked + FRESH_SECONDS:
            return
        under_way = list(self._local.items(ItemFilter(states=frozenset({RunState.RUNNING}))))
        ended: dict[str, Outcome] = {}
        for start in range(0, len(under_way), ASKED):
            for item_id, (state, run) in self._states(under_way[start : start + ASKED]).items():
                self._remote[item_id] = str(state)
                if outcome := _outcome(state, run):
                    ended[item_id] = outcome
        self._end(ended)
        self._asked = time.monotonic()

    def _end(self, ended: Mapping[str, Outcome]) -> int:
        """End these items here; returns how many there were to end."""
        if not ended:
            return 0
        leases = [lease for lease in self._local.held(SENDER) if lease.item.id in ended]
        return sum(self._local.finish([(lease, ended[lease.item.id]) for lease in leases]))

    def _states(self, items: Sequence[Item]) -> dict[str, tuple[str | None, Mapping[str, Any] | None]]:
        """For each item, its state there, None if it or its queue is gone, and its run, None if there is none yet."""
        nodes = self._items_there(items)
        begun = {here: node["associatedRunId"] for here, node in nodes.items() if node and node["associatedRunId"]}
        runs = self._runs_there(begun)
        return {item.id: ((nodes.get(item.id) or {}).get("state"), runs.get(item.id)) for item in items}

    def _items_there(self, items: Sequence[Item]) -> dict[str, Any]:
        """The items of the server, by those here. Of a queue that is gone it tells no items: what began there has a run
        that is named by the marker."""
        given: dict[str, tuple[str, Any]] = {"entity": ("String!", self._entity), "project": ("String!", PROJECT)}
        fields = []
        for number, item in enumerate(items):
            given |= {f"q{number}": ("String!", item.queue), f"i{number}": ("ID!", (item.handle or {})["wandb_item"])}
            below = f"runQueueItem(id: $i{number}) {{ id state associatedRunId }}"
            fields.append(f"n{number}: runQueue(name: $q{number}) {{ {below} }}")
        text = f"project(entityName: $entity, name: $project) {{ {' '.join(fields)} }}"
        project = self._asked_for(text, given)["project"] or {} if fields else {}
        there: dict[str, Any] = {}
        for number, item in enumerate(items):
            queue = project.get(f"n{number}") or {"runQueueItem": {"associatedRunId": item.id}}
            there[item.id] = queue["runQueueItem"]
        return there

    def _runs_there(self, names: Mapping[str, str]) -> dict[str, Any]:
        """The runs of the server with these names, by the items here."""
        given: dict[str, tuple[str, Any]] = {}
        fields = []
        for number, (here, name) in enumerate(names.items()):
            document = self._local.document(here)
            own = (document.get("entity") or self._entity, document.get("project") or NO_PROJECT, name)
            given |= {f"{letter}{number}": ("String!", value) for letter, value in zip("epr", own, strict=True)}
            below = f"run(name: $r{number}) {{ id state summaryMetrics }}"
            fields.append(f"n{number}: project(entityName: $e{number}, name: $p{number}) {{ {below} }}")
        data = self._asked_for(" ".join(fields), given) if fields else {}
        return {here: (data.get(f"n{number}") or {}).get("run") for number, here in enumerate(names)}

    def _asked_for(self, fields: str, given: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
        """The data of these fields; `given` are the types and values of their variables."""
        declared = ", ".join(f"${name}: {kind}" for name, (kind, _) in given.items())
        return self._client.ask(
            f"query Items({declared}) {{ {fields} }}", **{name: value for name, (_, value) in given.items()}
        )


def _outcome(state: str | None, run: Mapping[str, Any] | None) -> Outcome | None:
    """What became of an item that is in this state there, with this run; None while it goes on."""
    if state is None and run is None:
        return Cancelled("deleted on the server")
    ended = ENDED.get(run["state"]) if run else None
    if ended == "finished":
        return Finished(_result(run))
    if ended == "cancelled":
        return Cancelled("killed on the server")
    if ended == "failed" and run:
        return Failed("run", f"{run['state']} on the server", None, _result(run))
    return Failed("run", "failed on the server before its run began") if state == "FAILED" else None


def _result(run: Mapping[str, Any] | None) -> dict[str, Any]:
    summary = canonical.decode((run or {}).get("summaryMetrics") or "{}")
    return {name: value for name, value in summary.items() if not name.startswith("_")}


def outbox_path(base: str, entity: str) -> Path:
    """Where the outbox for a server and an entity lies: in the user's data folder."""
    import platformdirs

    name = re.sub(r"[^A-Za-z0-9.-]+", "_", base.partition("://")[2] + "_" + entity)
    return Path(platformdirs.user_data_path("launcher")) / "wandb" / f"{name}.db"
