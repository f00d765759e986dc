"""What every store must honour about notices: each is sent once, whoever comes first."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from launcher.item import ItemFilter, Sweep
from launcher.notices import TRIES, Notice, parsed
from launcher.outcome import Failed, Finished
from launcher.queues import Store, sweeps
from tests.queues.steps import EVERYTHING, at_once, pop, spec

NOTIFY = parsed([{"command": ["tell"]}, {"webhook": "https://host.invalid/x", "secret": "KEY", "on": ["50%", "end"]}])


def named(notices: list[Notice]) -> list[tuple[str, str]]:
    return sorted(("command" if "command" in notice.target else "webhook", notice.event) for notice in notices)


def taken(store: Store, agent: str = "a") -> list[Notice]:
    return list(iter(lambda: store.take_notice(agent), None))  # type: ignore[arg-type]


def end(store: Store, *good: bool) -> None:
    leases = pop(store, limit=len(good))
    store.finish(
        (lease, Finished() if well else Failed("run", "x", 1)) for lease, well in zip(leases, good, strict=True)
    )


class NoticesContract:
    def test_a_sweep_keeps_whom_it_notifies(self, store: Store) -> None:
        store.push(Sweep("s", notify=NOTIFY), [spec(1)])
        store.push(Sweep("s"), [spec(2)])
        [sweep] = store.sweeps()
        assert sweep.notify == NOTIFY
        assert taken(store) == []

    def test_events_come_as_the_sweep_goes_on_each_once(self, store: Store) -> None:
        store.push(Sweep("s", notify=NOTIFY), [spec(seed) for seed in range(4)])
        end(store, True)
        assert taken(store) == []
        end(store, False)
        [first] = taken(store)
        assert named([first]) == [("command", "first_failure")]
        assert (first.counts, first.tries) == ({"pending": 2, "finished": 1, "failed": 1}, 1)
        assert store.settle_notice(first, "a", None)
        end(store, False)
        assert named(taken(store)) == [("webhook", "50%")]
        end(store, True)
        last = taken(store)
        assert named(last) == [("command", "end"), ("webhook", "end")]
        assert all(store.settle_notice(notice, "a", None) for notice in last)
        store.retry(EVERYTHING, "ann")
        end(store, False, False)
        assert taken(store) == []
        states = sorted((notice.event, state) for notice, state, _ in store.notices("s"))
        assert states == [("50%", "sending"), ("end", "sent"), ("end", "sent"), ("first_failure", "sent")]

    def test_cancelling_the_rest_ends_a_sweep_too(self, store: Store) -> None:
        store.push(Sweep("s", notify=NOTIFY), [spec(1)])
        store.cancel(ItemFilter(sweep="s"), "ann")
        assert [notice.counts for notice in taken(store)] == [{"cancelled": 1}] * 2

    def test_of_many_agents_one_gets_it(self, store: Store, open_again: Callable[[], Store]) -> None:
        store.push(Sweep("s", notify=NOTIFY), [spec(1)])
        end(store, False)
        stores = [open_again() for _ in range(6)]
        got = at_once(6, lambda place: taken(stores[place], f"agent-{place}"))
        assert named([notice for notices in got for notice in notices]) == [
            ("command", "end"), ("command", "first_failure"), ("webhook", "50%"), ("webhook", "end"),
        ]  # fmt: skip

    def test_what_an_agent_took_and_never_told_goes_to_another_one(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.push(Sweep("s", notify=NOTIFY[:1]), [spec(1)])
        end(store, True)
        monkeypatch.setattr(sweeps, "SEND_SECONDS", 0.0)
        [first] = [store.take_notice("dead")]
        monkeypatch.undo()
        [second] = taken(store, "a")
        assert first
        assert (second.id, second.tries) == (first.id, 2)
        assert not store.settle_notice(first, "dead", None)
        assert store.settle_notice(second, "a", None)
        assert not store.settle_notice(second, "a", None)

    def test_what_could_not_be_sent_is_tried_again_later_and_given_up_in_the_end(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.push(Sweep("s", notify=NOTIFY[:1]), [spec(1)])
        end(store, True)
        now = time.time()
        for tries in range(1, TRIES + 1):
            monkeypatch.setattr(time, "time", lambda tries=tries: now + 10_000 * tries)
            [notice] = taken(store)
            assert notice.tries == tries
            assert store.settle_notice(notice, "a", f"try {tries}")
            assert taken(store) == []
        monkeypatch.setattr(time, "time", lambda: now + 1e6)
        assert taken(store) == []
        assert [(state, error) for _, state, error in store.notices("s")] == [("failed", f"try {TRIES}")]
