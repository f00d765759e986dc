"""The division of an item's waiting into its causes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import waits
from launcher.item import AgentInfo, Item, LogEntry, RunState
from launcher.waits import NO_AGENT, TURN, Span, Stall

PENDING, LEASED, FAILED = RunState.PENDING, RunState.LEASED, RunState.FAILED
CAUSES = st.sampled_from([*waits.HOLDS.values(), "queue paused", NO_AGENT, "queue limit", "limit x", "no free GPU"])
TIMES = st.integers(0, 60)  # whole numbers, so that sums are exact


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[Span]]:
    ends = sorted(draw(st.lists(TIMES, max_size=8)))
    waited = list(zip(ends[::2], ends[1::2], strict=False))
    spans = draw(st.lists(st.builds(Span, CAUSES, TIMES, TIMES), max_size=12))
    return waited, spans


@given(histories())
def test_the_parts_are_what_counts_in_each_second(history: tuple[list[tuple[int, int]], list[Span]]) -> None:
    waited, spans = history
    expected: dict[str, float] = {}
    for second in range(60):
        for since, until in waited:
            if since <= second < until:
                there = [span.cause for span in spans if span.since <= second < span.until]
                cause = next((rank for rank in RANKED if rank in there), TURN)
                expected[cause] = expected.get(cause, 0) + 1
    found = waits.divide(waited, spans)
    assert found == expected
    assert sum(found.values()) == sum(until - since for since, until in waited)
    assert list(found.values()) == sorted(found.values(), reverse=True)


RANKED = (*waits.HOLDS.values(), "queue paused", NO_AGENT, "queue limit", "limit x", "no free GPU")


@given(histories(), st.randoms())
def test_the_order_of_what_was_recorded_makes_no_difference(
    history: tuple[list[tuple[int, int]], list[Span]], random: object
) -> None:
    waited, spans = history
    mixed = list(spans)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert waits.divide(waited, mixed) == waits.divide(waited, spans)


def test_two_agents_that_saw_the_same_count_once() -> None:
    spans = [Span("no free GPU", 0, 6), Span("no free GPU", 4, 8)]
    assert waits.divide([(0, 10)], spans) == {"no free GPU": 8, TURN: 2}


def test_what_an_item_waits_for_now() -> None:
    spans = [Span("no free place", 0, 10), Span("queue limit", 5, 10), Span("queue paused", 0, 9)]
    assert waits.current(spans, 10) == "queue limit"
    assert waits.current(spans, 11) == TURN


def item(state: RunState = PENDING) -> Item:
    return Item("i", "q", None, state, 2, None, (), 0, 3, added_at=10.0, changed_at=10.0)


def entry(at: float, before: RunState, after: RunState, hold: str | None = None) -> LogEntry:
    return LogEntry(int(at), at, "i", None, "q", before, after, 1, None, None, hold)


def test_an_item_waits_from_its_addition_and_each_time_it_is_put_back() -> None:
    log = [entry(12, PENDING, LEASED), entry(15, LEASED, PENDING), entry(19, PENDING, FAILED)]
    assert waits.periods(item(FAILED), log, 99) == [(10, 12), (15, 19)]
    assert waits.periods(item(), log[:2], 99) == [(10, 12), (15, 99)]
    assert waits.periods(item(), [], 99) == [(10, 99)]


def test_a_hold_does_not_end_the_waiting() -> None:
    log = [entry(12, PENDING, PENDING, "paused"), entry(15, PENDING, PENDING), entry(19, PENDING, LEASED)]
    assert waits.periods(item(FAILED), log, 99) == [(10, 19)]
    assert waits.hold_spans(log, 99) == [Span("paused by hand", 12, 15)]


def test_a_hold_lasts_until_something_else_happens_or_until_now() -> None:
    log = [entry(12, LEASED, PENDING, "backoff"), entry(15, PENDING, PENDING, "failures")]
    assert waits.hold_spans(log, 99) == [
        Span("backoff after a failure", 12, 15),
        Span("too many failures in its sweep", 15, 99),
    ]


def test_a_stall_that_was_told_lately_still_goes_on() -> None:
    ends = [3.0, 7.0, None]
    stalls = [Stall("q", 0, "a", "queue limit", 1.0, until) for until in ends]
    assert [span.until for span in waits.stall_spans(stalls, 10.0, fresh=5.0)] == [3.0, 10.0, 10.0]


def agent(started: float, seen: float, state: str = "left", queues: tuple[str, ...] = ()) -> AgentInfo:
    return AgentInfo("a", "h", 1, 0.0, queues, 1, started, seen, state)


@pytest.mark.parametrize(
    ("agents", "without"),
    [
        ([], [(10, 20), (30, 40)]),
        ([agent(0, 50)], []),
        ([agent(0, 50, queues=("other",))], [(10, 20), (30, 40)]),
        ([agent(12, 15, queues=("q",))], [(10, 12), (15, 20), (30, 40)]),
        ([agent(0, 12), agent(11, 35)], [(35, 40)]),
        ([agent(0, 35, "alive")], []),
        ([agent(0, 31, "alive")], [(36, 40)]),
    ],
)
def test_times_without_an_agent(agents: list[AgentInfo], without: list[tuple[int, int]]) -> None:
    found = waits.agentless("q", agents, [(10, 20), (30, 40)], fresh=5.0)
    assert [(span.since, span.until) for span in found] == without
