"""The state machine of items as hypothesis explores it: a story of agents, people and time, told to a real store and to
the model (model.py) alike. Two Store objects on the same storage take turns: what one writes the other must see."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from launcher.errors import NotFoundError, StoreError
from launcher.item import TERMINAL, TRANSITIONS, AgentInfo, Event, Item, ItemFilter, Lease, QueueInfo, RunState, Sweep
from launcher.outcome import Outcome
from launcher.queues import Store
from tests.queues.model import Model
from tests.queues.moves import (
    AGENTS,
    CHOICES,
    CONDITIONS,
    LEASES,
    MOVES,
    OUTCOMES,
    QUEUE_SETTINGS,
    QUEUES,
    SMALL,
    SWEEPS,
    WORKS,
    move,
)
from tests.queues.work import Entry, Work

EVERYTHING = ItemFilter()


class Story(RuleBasedStateMachine):
    """Each move does one thing to the store and to the model, and compares what they say about it.

    They are one rule: hypothesis leaves half of all rules out of a story, and one without pushes or pops says little.
    """

    open_stores: ClassVar[Callable[[], tuple[Store, Store]]]
    """Two stores on the same new storage."""
    clock: ClassVar[list[float]]
    """What `time.time` tells the stores."""

    def __init__(self) -> None:
        super().__init__()
        self.clock[0] = 1_000_000.0
        self.store, self.other = type(self).open_stores()
        self.model = Model()
        self.given: list[Lease] = []
        self.told: dict[str, Item] = {}

    @property
    def now(self) -> float:
        return self.clock[0]

    @now.setter
    def now(self, now: float) -> None:
        self.clock[0] = now

    def lease(self, kind: str, place: int) -> Lease:
        among = [lease for lease in self.given if self._is_held(lease)] if kind == "current" else []
        among = among or self.given
        lease = among[-1 - place % len(among)]
        other = self.given[place // 2 % len(self.given)].item
        return replace(lease, item=other) if kind == "mixed" and other.id != lease.item.id else lease

    def _is_held(self, lease: Lease) -> bool:
        entry = self.model.entry(lease.item.id)
        return entry is not None and entry.token == lease.token

    def filter(self, conditions: dict[str, Any]) -> ItemFilter:
        known = ["nobody", *(entry.item.id for entry in self.model.entries)]
        ids = [known[-1 - place % len(known)] for place in conditions.get("ids", ())]
        return ItemFilter(**conditions | ({"ids": tuple(ids)} if ids else {}))

    @rule(
        what=st.deferred(lambda: st.sampled_from(CHOICES).flatmap(lambda name: st.tuples(st.just(name), MOVES[name])))
    )
    def something_happens(self, what: tuple[str, dict[str, Any]]) -> None:
        name, arguments = what
        getattr(self, name)(**arguments)

    # -- adding ---------------------------------------------------------------------------------------------------

    @initialize(works=st.lists(WORKS, min_size=3, max_size=6), sweep=SWEEPS)
    def begin(self, works: list[Work], sweep: str | None) -> None:
        for name, limit in (("limited", 2), ("plain", None)):
            self.change_queue("create", QueueInfo(name, "local-process", max_running=limit))
        for name in ("a", "b"):
            self.register(name)
        self.push(works, sweep, 1, again=False)

    @move(
        often=3,
        works=st.lists(WORKS, min_size=2, max_size=5),
        sweep=SWEEPS,
        allow=st.sampled_from([None, 1, 2]),
        again=st.booleans(),
    )
    def push(self, works: list[Work], sweep: str | None, allow: int | None, again: bool) -> None:
        named = Sweep(sweep, stop_after_failures=allow) if sweep else None
        specs = (work.spec() for work in works)
        if error := self.model.refusal(sweep, works, again):
            with pytest.raises(error):
                self.store.push(named, specs, again=again)
            return
        receipt = self.store.push(named, specs, again=again)
        assert receipt == self.model.push(self.now, sweep, allow, works, again, receipt.ids)

    # -- agents ---------------------------------------------------------------------------------------------------

    @move(often=3, agent=AGENTS, queues=st.lists(QUEUES, max_size=4), limit=st.sampled_from([0, 1, 2, 3, 10]))
    def pop(self, agent: str, queues: list[str], limit: int) -> None:
        before = {name: self.model.busy(name) for name in self.model.queues}
        leases = self.store.pop(agent, queues, limit)
        assert [lease.item.id for lease in leases] == self.model.pop(self.now, agent, queues, limit)
        self._given(leases)
        for name, queue in self.model.queues.items():
            assert queue.max_running is None or self.model.busy(name) <= max(before[name], queue.max_running)

    def _given(self, leases: list[Lease]) -> None:
        for lease in leases:
            entry = self.model.entry(lease.item.id)
            assert entry
            entry.token = lease.token
            assert lease.item == entry.item
            assert lease.document == entry.work.document()
            assert lease.token not in [given.token for given in self.given]
            self.given.append(lease)

    @move(often=3, agent=AGENTS, start=st.booleans())
    def pop_all(self, agent: str, start: bool) -> None:
        before = len(self.given)
        self.pop(agent, ["default", "limited", "plain"], 10)
        if start:
            self._ack([(lease, {"pid": place}, "/runs/all") for place, lease in enumerate(self.given[before:])])

    @move(often=3, chosen=st.lists(LEASES, min_size=1, max_size=4))
    def ack(self, chosen: list[tuple[str, int]]) -> None:
        self._ack([(self.lease(*one), {"pid": one[1]}, f"/runs/{one[1]}") for one in chosen if self.given])

    def _ack(self, started: list[tuple[Lease, dict[str, Any], str]]) -> None:
        expected = [self.model.ack(self.now, lease.item.id, lease.token, *place) for lease, *place in started]
        assert self.store.ack(started) == expected

    @move(often=5, chosen=st.lists(st.tuples(LEASES, OUTCOMES), min_size=1, max_size=4))
    def finish(self, chosen: list[tuple[tuple[str, int], Outcome]]) -> None:
        self._finish([(self.lease(*one), outcome) for one, outcome in chosen if self.given])

    def _finish(self, ended: list[tuple[Lease, Outcome]]) -> None:
        expected = self.model.finish(self.now, [(lease.item.id, lease.token, outcome) for lease, outcome in ended])
        assert self.store.finish(ended) == expected

    @move(often=2, outcomes=st.lists(OUTCOMES, min_size=1, max_size=3))
    def finish_all(self, outcomes: list[Outcome]) -> None:
        held = [lease for lease in self.given if self._is_held(lease)]
        self._finish(list(zip(held, itertools.cycle(outcomes), strict=False)))

    @move(
        often=3, agent=AGENTS, queues=st.lists(QUEUES, max_size=3), limit=st.sampled_from([0, 1, 3, 10]),
        begun=st.lists(LEASES, max_size=2), chosen=st.lists(st.tuples(LEASES, OUTCOMES), max_size=3),
    )  # fmt: skip
    def exchange(
        self, agent: str, queues: list[str], limit: int, begun: list[tuple[str, int]],
        chosen: list[tuple[tuple[str, int], Outcome]],
    ) -> None:  # fmt: skip
        started = [(self.lease(*one), {"pid": one[1]}, f"/runs/{one[1]}") for one in begun if self.given]
        ended = [(self.lease(*one), outcome) for one, outcome in chosen if self.given]
        starts = [(lease.item.id, lease.token, *place) for lease, *place in started]
        ends = [(lease.item.id, lease.token, outcome) for lease, outcome in ended]
        acked, done, leases = self.store.exchange(agent, started, ended, queues, limit)
        taken = [lease.item.id for lease in leases]
        assert (acked, done, taken) == self.model.exchange(self.now, agent, starts, ends, queues, limit)
        self._given(leases)

    @move(agent=AGENTS, verb=st.sampled_from(["register", "heartbeat", "release", "leave"]))
    def live_or_die(self, agent: str, verb: str) -> None:
        getattr(self, verb)(agent)

    def register(self, agent: str) -> None:
        info = AgentInfo(agent, "host", 7, 5.5, ("default",), 2, self.now, self.now)
        self.store.register(info)
        self.model.register(info)

    def heartbeat(self, agent: str) -> None:
        self.store.heartbeat(agent)
        self.model.heartbeat(self.now, agent)

    def leave(self, agent: str) -> None:
        self.store.leave(agent)
        self.model.release(self.now, agent, "left", "its agent stopped", None)

    def release(self, agent: str, beats: int | None = None) -> None:
        released = self.store.release(agent, "it is silent", beats=beats)
        assert released == self.model.release(self.now, agent, "lost", "it is silent", beats)

    @move(agent=AGENTS, more=st.sampled_from([0, 0, 1, -1]))
    def release_if_silent(self, agent: str, more: int) -> None:
        known = self.model.agents.get(agent)
        self.release(agent, more + (known.beats if known else 0))

    @move(agents=st.permutations(["a", "b", "c"]))
    def adopt(self, agents: list[str]) -> None:
        dead, agent, _ = agents
        adopted = self.store.adopt(dead, agent)
        assert {lease.token for lease in adopted} == self.model.adopt(dead, agent)
        assert len(adopted) == len({lease.item.id for lease in adopted})

    # -- people ---------------------------------------------------------------------------------------------------

    @move(conditions=CONDITIONS)
    def cancel(self, conditions: dict[str, Any]) -> None:
        which = self.filter(conditions)
        assert self.store.cancel(which, "ann") == self.model.cancel(self.now, which, "ann")

    @move(often=2, conditions=CONDITIONS)
    def retry(self, conditions: dict[str, Any]) -> None:
        which = self.filter(conditions)
        assert self.store.retry(which, "ann") == self.model.retry(self.now, which, "ann")

    @move(often=2, verb=st.sampled_from(["hold", "resume", "resume", "delete"]), conditions=CONDITIONS)
    def hold_resume_delete(self, verb: str, conditions: dict[str, Any]) -> None:
        which = self.filter(conditions)
        assert getattr(self.store, verb)(which) == getattr(self.model, verb)(which)

    @move(conditions=CONDITIONS, priority=SMALL)
    def set_priority(self, conditions: dict[str, Any], priority: int) -> None:
        which = self.filter(conditions)
        assert self.store.set_priority(which, priority) == self.model.set_priority(which, priority)

    @move(verb=st.sampled_from(["create", "update", "pause", "unpause", "delete"]), queue=QUEUE_SETTINGS)
    def change_queue(self, verb: str, queue: QueueInfo) -> None:
        known = self.model.queues.get(queue.name)
        if known is None and verb != "create":
            with pytest.raises(NotFoundError):
                self._on_queue(verb, queue)
        elif known and (verb == "create" or (verb == "delete" and self.model.queue_in_use(queue.name))):
            with pytest.raises(StoreError, match=r"exists already|still has items"):
                self._on_queue(verb, queue)
        else:
            self._on_queue(verb, queue)
            self.model.change_queue(verb, queue)

    def _on_queue(self, verb: str, queue: QueueInfo) -> None:
        match verb:
            case "create":
                self.store.create_queue(queue)
            case "update":
                self.store.update_queue(queue)
            case "delete":
                self.store.delete_queue(queue.name)
            case _:
                self.store.pause_queue(queue.name, paused=verb == "pause")

    @move(often=2, seconds=st.sampled_from([5.0, 10.0, 30.0, 200.0, -20.0]))
    def pass_time(self, seconds: float) -> None:
        """Clocks also jump back."""
        self.now += seconds

    # -- after every step -----------------------------------------------------------------------------------------

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        self.store, self.other = self.other, self.store
        assert list(self.store.items(EVERYTHING)) == [entry.item for entry in self.model.entries]
        assert Counter(self.store.counts()) == self.model.counts()
        for entry in self.model.entries:
            if self.told.get(entry.item.id) != entry.item:
                self.check_story(entry)
        self.told = {entry.item.id: entry.item for entry in self.model.entries}
        self.check_agents()
        self.now += 1

    def check_agents(self) -> None:
        held = {entry.token for entry in self.model.entries if entry.token}
        assert self.store.valid({lease.token for lease in self.given}) == held
        for agent in ("a", "b", "c"):
            expected = {entry.token: entry.item.stop_requested for entry in self.model.held(agent)}
            assert self.store.leases(agent) == expected
        alive = {agent.id: agent for agent in self.model.agents.values() if agent.state == "alive"}
        assert {agent.id: agent for agent in self.store.agents()} == alive
        assert self.store.next_due(["default", "limited"]) == self.model.next_due(self.now, ["default", "limited"])

    def check_story(self, entry: Entry) -> None:
        events = self.store.events(entry.item.id)
        assert events == entry.events
        assert self.store.attempts(entry.item.id) == entry.attempts
        assert self.store.document(entry.item.id) == entry.work.document()
        assert_allowed(events)

    def teardown(self) -> None:
        if sys.exception():
            return  # the story has failed before its end
        for entry in self.model.entries:
            self.check_story(entry)
        assert {queue.name: replace(queue, created_at=0.0) for queue in self.store.queues()} == self.model.queues
        assert {sweep.name: sweep.stop_after_failures for sweep in self.store.sweeps()} == self.model.sweeps


def assert_allowed(events: list[Event]) -> None:
    """Whatever the model says: only transitions of the table, one start an attempt, one end until somebody retries."""
    state = RunState.PENDING
    for event in events:
        assert event.before is state
        assert event.after in TRANSITIONS[state]
        state = event.after
    starts = [event.attempt for event in events if event.after is RunState.LEASED]
    assert starts == list(range(1, len(starts) + 1))
    ends = Counter(
        event.attempt for event in events if event.after in TERMINAL and event.before is not RunState.PENDING
    )
    assert set(ends.values()) <= {1}
