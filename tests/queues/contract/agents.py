"""What every store must honour about agents: who is there, what each holds, and what becomes of it when one is silent,
leaves or dies."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from launcher.item import Sweep
from launcher.outcome import Finished, Lost, Outcome, Preempted
from launcher.policy import MAX_ATTEMPTS
from launcher.queues import Store
from tests.queues.steps import (
    CANCELLED,
    EVERYTHING,
    FAILED,
    LEASED,
    PENDING,
    OpenAgain,
    agent,
    beats,
    one,
    pop,
    push_and_pop,
    push_one,
    spec,
    start,
    states,
    strict,
)


class AgentsContract:
    # -- who is there -------------------------------------------------------------------------------------------------

    def test_agents_are_listed_with_all_they_said_until_they_leave(self, store: Store, open_again: OpenAgain) -> None:
        first = agent("z", queues=("gpu", "ü"), max_jobs=4, pid=2**22, started_at=10.5)
        second = agent("a", queues=(), started_at=20.5)
        store.register(second)
        store.register(first)
        assert open_again().agents() == [first, second]
        store.leave("z")
        assert store.agents() == [second]
        store.release("a", "gone")
        assert store.agents() == []

    def test_an_agent_begins_again_under_its_name(self, store: Store) -> None:
        store.register(agent("a"))
        store.leave("a")
        later = agent("a")
        store.register(later)
        [found] = store.agents()
        assert (found.seen_at, found.state) == (later.seen_at, "alive")

    def test_an_agent_that_begins_again_is_listed_as_it_is_now(self, store: Store) -> None:
        store.register(agent("a"))
        now = agent("a", host="elsewhere", pid=8, process_started=6.5, queues=("gpu",), max_jobs=9)
        store.register(now)
        assert store.agents() == [replace(now, beats=1)]

    def test_held_and_leases_list_what_an_agent_has_and_nothing_else(self, store: Store, open_again: OpenAgain) -> None:
        store.push(Sweep("s"), [spec(seed) for seed in range(5)])
        mine = pop(store, "a", 3)
        theirs = pop(store, "b", 1)
        start(store, mine[1])
        store.finish([(mine[2], Finished())])
        seen = open_again()
        assert seen.leases("a") == {mine[0].token: False, mine[1].token: False}
        assert seen.leases("b") == {theirs[0].token: False}
        assert seen.leases("nobody") == {}
        held = {lease.token: lease for lease in seen.held("a")}
        assert set(held) == {mine[0].token, mine[1].token}
        assert held[mine[0].token] == mine[0]
        assert held[mine[1].token].item == store.item(mine[1].item.id)
        assert strict(held[mine[1].token].document) == strict(mine[1].document)
        assert seen.held("nobody") == []

    def test_a_heartbeat_counts_and_keeps_the_leases_of_its_agent_alone(self, store: Store) -> None:
        for name in ("a", "b"):
            push_and_pop(store, name)
            store.register(agent(name, seen_at=1.0))
        seen = beats(store)
        before = time.time()
        store.heartbeat("a")
        assert beats(store) == {"a": seen["a"] + 1, "b": seen["b"]}
        [seen_at] = [found.seen_at for found in store.agents() if found.id == "a"]
        assert before <= seen_at <= time.time()
        assert [store.release(name, "silent", beats=seen[name]) for name in ("a", "b")] == [0, 1]
        assert len(store.leases("a")) == 1
        assert store.leases("b") == {}
        assert [found.id for found in store.agents()] == ["a"]

    # -- who is lost, and what it held --------------------------------------------------------------------------------

    def test_what_a_silent_agent_held_waits_again(self, store: Store) -> None:
        store.push(None, [spec(seed) for seed in range(4)])
        for name in ("quiet", "heard"):
            store.register(agent(name))
        lost = pop(store, "quiet", 2)
        kept = pop(store, "heard", 1)
        start(store, lost[1])
        assert store.release("quiet", "was silent", beats=beats(store)["quiet"]) == 2
        assert states(store) == [PENDING, PENDING, LEASED, PENDING]
        assert set(store.leases("heard")) == {kept[0].token}
        item = store.item(lost[1].item.id)
        assert (item.agent, item.attempt, item.stage, item.reason) == (None, 1, "lost", "was silent")
        assert store.release("quiet", "was silent", beats=0) == 0

    def test_a_lost_items_event_names_the_agent_that_held_it(self, store: Store) -> None:
        held = {push_and_pop(store, name).item.id: name for name in ("a", "b", "c")}
        for name in ("a", "b", "c"):
            assert store.release(name, "gone") == 1
        assert {item_id: store.events(item_id)[-1].actor for item_id in held} == held

    def test_what_was_to_be_cancelled_is_cancelled_when_its_agent_is_lost(self, store: Store) -> None:
        store.push(None, [spec(1), spec(2)])
        first, second = pop(store)
        start(store, first)
        store.cancel(one(first.item.id), "me")
        assert store.release("a", "silent") == 2
        assert {item.id: item.state for item in store.items(EVERYTHING)} == {
            first.item.id: CANCELLED,
            second.item.id: PENDING,
        }
        assert not store.item(first.item.id).stop_requested

    @pytest.mark.parametrize("outcome", [Lost("no trace"), Preempted("its agent left")])
    def test_what_was_to_be_cancelled_is_cancelled_when_its_run_would_be_put_back(
        self, store: Store, outcome: Outcome
    ) -> None:
        lease = push_and_pop(store)
        start(store, lease)
        assert store.cancel(EVERYTHING, "me") == (0, 1)
        assert store.finish([(lease, outcome)]) == [True]
        assert states(store) == [CANCELLED]

    def test_an_agent_declared_lost_that_is_heard_again_works_on(self, store: Store) -> None:
        store.register(agent("a"))
        silent = beats(store)["a"]
        store.release("a", "silent", beats=silent)
        assert store.agents() == []
        store.heartbeat("a")
        assert [found.id for found in store.agents()] == ["a"]
        lease = push_and_pop(store)
        assert store.release("a", "silent", beats=silent) == 0
        assert store.finish([(lease, Finished())]) == [True]

    def test_what_an_agent_takes_after_it_was_declared_lost_is_put_back_when_it_stays_silent(
        self, store: Store
    ) -> None:
        store.register(agent("a"))
        store.release("a", "silent", beats=beats(store)["a"])
        push_and_pop(store)
        assert store.release("a", "silent", beats=beats(store)["a"]) == 1
        assert states(store) == [PENDING]

    @pytest.mark.parametrize("verb", ["release", "leave"])
    def test_what_an_agent_held_goes_back_when_it_is_gone(self, store: Store, verb: str) -> None:
        store.push(None, [spec(seed) for seed in range(5)])
        for name in ("a", "b"):
            store.register(agent(name))
        leased, running, doomed = pop(store, "a", 3)
        start(store, running, doomed)
        store.cancel(one(doomed.item.id), "me")
        [other] = pop(store, "b", 1)
        if verb == "release":
            assert store.release("a", "its agent (pid 7) died") == 3
            assert store.item(running.item.id).reason == "its agent (pid 7) died"
        else:
            store.leave("a")
        assert states(store) == [PENDING, PENDING, CANCELLED, LEASED, PENDING]
        assert store.leases("a") == {}
        assert set(store.leases("b")) == {other.token}
        assert [found.id for found in store.agents()] == ["b"]
        assert store.finish([(leased, Finished()), (running, Finished())]) == [False, False]
        assert store.release("a", "again") == 0

    def test_releasing_uses_up_attempts(self, store: Store) -> None:
        item_id = push_one(store)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            assert len(pop(store)) == 1
            assert store.release("a", f"died {attempt} times") == 1
            assert store.item(item_id).state is (PENDING if attempt < MAX_ATTEMPTS else FAILED)
        item = store.item(item_id)
        assert (item.stage, item.reason) == ("lost", f"died {MAX_ATTEMPTS} times")

    def test_what_a_dead_agent_held_is_adopted_once_as_it_was(self, store: Store, open_again: OpenAgain) -> None:
        store.push(None, [spec(seed) for seed in range(3)])
        for name in ("dead", "heir", "other"):
            store.register(agent(name))
        leased, running = pop(store, "dead", 2)
        [own] = pop(store, "heir", 1)
        start(store, running)
        adopted = open_again().adopt("dead", "heir")
        assert {lease.token for lease in adopted} == {leased.token, running.token}
        assert store.adopt("dead", "other") == []
        assert set(store.leases("heir")) == {own.token, leased.token, running.token}
        assert [found.id for found in store.agents()] == ["heir", "other"]
        assert {lease.item.id: lease.item.handle for lease in adopted} == {
            leased.item.id: None,
            running.item.id: {"pid": 1},
        }
        start(store, leased)
        assert store.finish([(running, Finished()), (leased, Lost("x"))]) == [True, True]
        assert [event.actor for event in store.events(leased.item.id)] == ["dead", "heir", "heir"]
