"""What an agent records of why it takes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from launcher.agent.stalls import Stalls, causes
from launcher.queues import Store
from launcher.slots import Room
from launcher.waits import AHEAD, ALL_NEEDS, Blocker, Stall

FREE = Room(cpus=8, memory=16e9, gpus=2, free_cpus=8, free_memory=16e9, free_gpus=2, free_part=1.0)
NO_GPU = replace(FREE, free_gpus=0, free_part=0.0)


def blocker(
    needs: int = 0, queue: str = "q", limit: int | None = None, busy: int = 0, full: str | None = None, **asked: float
) -> Blocker:
    return Blocker(queue, needs, asked, limit, busy, full)


@pytest.mark.parametrize(
    ("found", "room", "expected"),
    [
        ([], FREE, {}),
        ([blocker()], FREE, {}),
        ([blocker(limit=2, busy=1)], FREE, {}),
        ([blocker(limit=2, busy=2), blocker(1, limit=2, busy=2, gpus=1)], FREE, {("q", ALL_NEEDS): "queue limit"}),
        ([blocker(1, full="licence")], FREE, {("q", 1): "limit licence"}),
        ([blocker(1, gpus=1)], NO_GPU, {("q", 1): "no free GPU"}),
        ([blocker(1, gpus=0.5)], replace(FREE, free_gpus=0, free_part=0.5), {}),
        ([blocker(1, gpus=0.5)], replace(FREE, free_gpus=0, free_part=0.4), {("q", 1): "no free GPU"}),
        ([blocker(1, memory=9e9)], replace(FREE, free_memory=8e9), {("q", 1): "no free memory"}),
        ([blocker(1, cpus=4)], replace(FREE, free_cpus=3), {("q", 1): "no free CPU"}),
        ([blocker(1, gpus=3)], FREE, {("q", 1): "no agent with room for it"}),
        ([blocker(1, gpus=3), blocker()], FREE, {("q", 1): "no agent with room for it"}),
        (
            [blocker(1, gpus=1), blocker(), blocker(queue="r")],
            NO_GPU,
            {("q", 1): "no free GPU", ("q", 0): f"no free GPU{AHEAD}", ("r", 0): f"no free GPU{AHEAD}"},
        ),
        ([blocker(), blocker(1, gpus=1)], NO_GPU, {("q", 1): "no free GPU"}),
        ([blocker(1, full="licence"), blocker()], FREE, {("q", 1): "limit licence"}),
    ],
)  # fmt: skip
def test_why_nothing_was_taken(found: list[Blocker], room: Room, expected: dict[Any, str]) -> None:
    assert causes(found, room) == expected


@dataclass
class Recording:
    """A store as far as stalls go."""

    waiting: list[Blocker]
    written: list[list[Stall]] = field(default_factory=list)
    looks: int = 0

    def blockers(self, queues: Sequence[str]) -> list[Blocker]:
        self.looks += 1
        return [blocker for blocker in self.waiting if blocker.queue in queues]

    def stalled(self, stalls: Iterable[Stall]) -> None:
        self.written.append(list(stalls))


FULL = blocker(limit=1, busy=1)


class Watched:
    """Stalls over a recording store, with a clock of its own."""

    def __init__(self, *waiting: Blocker) -> None:
        self.store = Recording(list(waiting))
        self.stalls = Stalls(cast(Store, self.store), "a", beat=10.0)

    def look(self, now: float, room: Room | None = FREE) -> list[Stall]:
        before = len(self.store.written)
        self.stalls.look(lambda: ["q"], room, now)
        return [stall for written in self.store.written[before:] for stall in written]

    def due(self, now: float) -> float:
        return self.stalls.due(now)


def stall(since: float, until: float, cause: str = "queue limit") -> Stall:
    return Stall("q", ALL_NEEDS, "a", cause, since, until)


def test_what_lasts_is_told_after_a_second_and_then_every_beat() -> None:
    agent = Watched(FULL)
    assert agent.look(100.0) == []
    assert agent.due(100.25) == 0.75
    assert agent.look(101.0) == [stall(100, 101)]
    assert agent.due(101.0) == math.inf
    assert agent.look(105.0) == []
    assert agent.look(111.0) == [stall(100, 111)]


def test_what_ends_is_told_with_its_end() -> None:
    agent = Watched(FULL)
    agent.look(100.0)
    agent.look(101.0)
    agent.store.waiting = []
    assert agent.look(103.0) == [stall(100, 103)]
    assert agent.look(120.0) == []
    assert agent.due(120.0) == math.inf


def test_what_is_short_is_not_told() -> None:
    agent = Watched(FULL)
    agent.look(100.0)
    agent.look(100.5, None)
    agent.store.waiting = []
    assert agent.look(100.9) == []
    assert agent.look(150.0) == []


def test_what_comes_and_goes_is_not_told() -> None:
    agent = Watched(FULL)
    agent.look(100.0)
    agent.store.waiting = []
    assert agent.look(101.5) == []
    assert agent.due(101.5) == math.inf


def test_places_that_were_free_meanwhile_are_taken_anew() -> None:
    agent = Watched(blocker())
    agent.look(100.0, None)
    agent.look(101.0, None)
    assert agent.look(105.0) == [stall(100, 105, "no free place")]
    assert agent.look(106.0, None) == []
    assert agent.look(106.75, None) == []
    assert agent.look(107.0, None) == [stall(106, 107, "no free place")]


def test_the_store_is_looked_at_once_a_second_at_most() -> None:
    agent = Watched(FULL)
    for step in range(100):
        agent.look(100 + step / 32)
    assert agent.store.looks == 4


def test_an_agent_without_a_free_place_looks_once_a_beat() -> None:
    agent = Watched(blocker())
    for step in range(32 * 25):
        agent.look(100 + step / 32, None)
    assert agent.store.looks == 3
    assert agent.store.written == [
        [stall(100, 101, "no free place")], [stall(100, 111, "no free place")], [stall(100, 121, "no free place")],
    ]  # fmt: skip
    agent.store.waiting = []
    assert agent.look(125.0) == [stall(100, 125, "no free place")]


def test_places_that_are_taken_while_nothing_waits_keep_nothing_waiting_and_nobody_awake() -> None:
    agent = Watched()
    agent.look(100.0, None)
    assert agent.due(100.5) == 0.5
    agent.look(101.0, None)
    assert agent.due(101.0) == math.inf
    assert agent.store.written == []


def test_one_cause_after_another() -> None:
    agent = Watched(FULL)
    agent.look(100.0)
    agent.look(102.0)
    agent.store.waiting = [blocker(1, gpus=1)]
    assert agent.look(104.0, NO_GPU) == [stall(100, 104)]
    assert agent.look(105.5, NO_GPU) == [Stall("q", 1, "a", "no free GPU", 104, 105.5)]


def test_an_agent_that_leaves_ends_what_it_told() -> None:
    agent = Watched(FULL)
    agent.look(100.0)
    agent.look(101.0)
    agent.stalls.close(104.0)
    assert agent.store.written[-1] == [stall(100, 104)]


def test_a_clock_that_goes_back_stops_nothing() -> None:
    agent = Watched(FULL)
    agent.look(1000.0)
    agent.look(1001.0)
    agent.look(500.0)
    assert agent.look(502.0) == [stall(500, 502)]
