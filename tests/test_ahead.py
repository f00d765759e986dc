"""Short runs are taken ahead of their places; whoever waits for anything else does not notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import Agent, AgentEvent
from launcher.agent.ahead import IN_A_ROW, LONGEST_SECONDS, QUICK_SECONDS, Ahead
from launcher.agent.runs import Prepared, Run
from launcher.item import Item, ItemFilter, Lease, RunState, Sweep
from launcher.outcome import Failed, Finished
from launcher.queues import Store, open_store
from launcher.runners import Request, open_runner
from launcher.spec import LaunchSpec
from tests.conftest import until

RUNNER = open_runner("local-process", lambda: None)


def lease(name: str) -> Lease:
    return Lease(Item(name, "q", "s", RunState.LEASED, 2, None, (), 1, 3, 0.0, 0.0), f"token-{name}", {})


def prepared(name: str) -> Prepared:
    return Prepared(lease(name), RUNNER, Request((), {}, "", "", f"token-{name}"), "")


def began(name: str) -> Run:
    return Run(lease(name), RUNNER, {}, begun=time.monotonic())


def names(some: Sequence[Prepared]) -> list[str]:
    return [each.lease.item.id for each in some]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the monotonic clock on by so many seconds."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


@pytest.fixture
def quick(clock: Callable[[float], None]) -> Ahead:
    """Two may wait for its one place, and enough runs were quick."""
    ahead = Ahead(1)
    for number in range(IN_A_ROW):
        assert ahead.wanted() == 0
        run = began(f"run{number}")
        clock(QUICK_SECONDS / 2)
        ahead.ended(run, Finished(None))
    assert ahead.wanted() == 2
    return ahead


def test_the_first_begins_first_and_more_is_taken_when_half_have_begun(quick: Ahead) -> None:
    quick.keep(list(map(prepared, "ab")))
    assert (quick.wanted(), len(quick)) == (0, 2)
    assert names(quick.take(1)) == ["a"]
    assert (quick.wanted(), names(quick.take(0)), names(quick.take(9))) == (1, [], ["b"])


@pytest.mark.parametrize("outcome", [Failed("run", "exit code 1", 1), Finished(None)])
def test_after_a_run_that_failed_or_was_slow_nothing_waits(
    outcome: Failed | Finished, quick: Ahead, clock: Callable[[float], None]
) -> None:
    quick.keep([prepared("a")])
    run = began("run")
    clock(0.0 if isinstance(outcome, Failed) else QUICK_SECONDS)
    quick.ended(run, outcome)
    assert (quick.wanted(), names(quick.given_back(every=False)), len(quick)) == (0, ["a"], 0)


def test_what_waits_for_too_long_goes_back_and_no_more_is_taken(quick: Ahead, clock: Callable[[float], None]) -> None:
    quick.keep([prepared("a")])
    clock(LONGEST_SECONDS / 2)
    quick.keep([prepared("b")])
    assert (quick.due(), quick.given_back(every=False)) == (LONGEST_SECONDS / 2, [])
    clock(LONGEST_SECONDS * 0.6)
    assert names(quick.given_back(every=False)) == ["a"]
    assert quick.wanted() == 0
    assert names(quick.given_back(every=True)) == ["b"]


def test_what_is_cancelled_or_another_agents_does_not_begin(quick: Ahead) -> None:
    quick.keep(list(map(prepared, "abc")))
    assert names(quick.refused({"token-a": False, "token-b": True})) == ["b", "c"]
    assert names(list(quick)) == ["a"]


# -- in an agent ------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/store.db")) as opened:
        yield opened


def pushed(store: Store, folder: Path, scripts: Sequence[str], **sweep: Any) -> list[str]:
    """The IDs of items that run these scripts."""

    def spec(script: str) -> LaunchSpec:
        overrides = {"entry_point": ["sh", "-c", script]}
        document = {"entity": "", "project": "", "docker": {}, "git": {}, "overrides": overrides, "uri": str(folder)}
        return LaunchSpec({**document, "resource": "local-process"})

    return list(store.push(Sweep("s", **sweep), map(spec, scripts), again=True).ids)


@contextmanager
def working(store: Store, root: Path, listen: Callable[[AgentEvent], None] = lambda _: None) -> Iterator[Agent]:
    agent = Agent(store, root, max_jobs=1, listen=listen)
    thread = threading.Thread(target=agent.run)
    thread.start()
    yield agent
    agent.stop()
    thread.join()


def test_what_an_agent_took_ahead_of_a_long_run_is_free_for_another(store: Store, tmp_path: Path) -> None:
    go = tmp_path / "go"
    long = f"until [ -e {go} ]; do sleep 0.05; done"
    ids = pushed(store, tmp_path, [*["true"] * 8, long, "true"])
    with working(store, tmp_path / "first"):
        until(lambda: store.item(ids[-2]).state is RunState.RUNNING, "the long run")
        with working(store, tmp_path / "second"):
            until(lambda: store.item(ids[-1]).state is RunState.FINISHED, "the last run")
        assert store.item(ids[-2]).state is RunState.RUNNING
        go.touch()
        until(lambda: store.item(ids[-2]).state is RunState.FINISHED, "the end of the long run")
    came_back = [event.reason for event in store.events(ids[-1]) if event.after is RunState.PENDING and event.before]
    assert came_back == ["its agent had no place for it yet"]


def test_nothing_begins_after_a_failure_that_holds_its_sweep(store: Store, tmp_path: Path) -> None:
    ids = pushed(store, tmp_path, [*["true"] * 8, "exit 1", *["true"] * 4], stop_after_failures=1)
    begun: list[str] = []

    def hear(event: AgentEvent) -> None:
        if event.kind == "started" and event.lease:
            begun.append(event.lease.item.id)

    with working(store, tmp_path / "agent", hear):
        until(lambda: store.item(ids[8]).state is RunState.FAILED, "the failure")
        until(lambda: all(item.hold for item in store.items(ItemFilter(ids=tuple(ids[9:])))), "that the rest is held")
    assert begun == ids[:9]
    assert {item.state for item in store.items(ItemFilter(ids=tuple(ids[9:])))} == {RunState.PENDING}
