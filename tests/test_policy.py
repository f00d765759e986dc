"""Policies: spans of time, what they cover, and how long to wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.agent.watch import Watch
from launcher.item import AgentInfo
from launcher.outcome import Failed
from launcher.policy import Retry, timeout
from launcher.resources import seconds


@pytest.mark.parametrize(
    ("span", "expected"), [(0, 0), (1.5, 1.5), ("90s", 90), ("1h 30m", 5400), ("1h30m", 5400), ("0.5d", 43200)]
)
def test_spans(span: float | str, expected: float) -> None:
    assert seconds(span) == expected


@pytest.mark.parametrize("span", ["", "5", "5 minutes", "m", "-5m", "1h,2m", True, None, [1]])
def test_what_is_no_span_is_told(span: object) -> None:
    with pytest.raises(ValueError, match="no span of time"):
        seconds(span)  # type: ignore[arg-type]


def test_a_spec_without_policy_is_tried_again_only_when_it_was_lost() -> None:
    retry = Retry.of({})
    assert (retry.max_attempts, retry.causes) == (3, {"lost", "preempted"})
    assert not retry.covers(Failed("run", "x", 1))


def test_a_spec_that_names_attempts_alone_is_tried_again_after_everything() -> None:
    assert Retry.of({"retry": {"max_attempts": 2}}).causes == {"failed", "lost", "preempted", "timeout"}


@given(
    st.integers(1, 10**6), st.floats(0, 1000), st.floats(1, 10), st.floats(0, 10**5), st.floats(0, 1), st.floats(0, 1)
)
def test_delays_stay_in_their_bounds(
    attempt: int, initial: float, factor: float, longest: float, jitter: float, draw: float
) -> None:
    retry = Retry(initial=initial, factor=factor, longest=longest, jitter=jitter)
    delay = retry.delay(attempt, lambda: draw)
    assert 0 <= delay <= longest * (1 + jitter) + 1e-6


def test_timeouts_that_are_not_given_are_none() -> None:
    assert timeout({}, "run") is None
    assert timeout({"timeout": {"run": "1m"}}, "queue") is None


def _agent(name: str, beats: int) -> AgentInfo:
    return AgentInfo(name, "host", 1, 0.0, (), 1, 0.0, 0.0, beats=beats)


def test_an_agent_is_silent_once_its_beats_stand_still_for_a_lease() -> None:
    watch = Watch(30.0)
    assert watch.silent([_agent("a", 1), _agent("b", 7)], 0.0) == []
    assert watch.silent([_agent("a", 1), _agent("b", 7)], 10.0) == []
    assert watch.silent([_agent("a", 2), _agent("b", 7)], 20.0) == []
    assert [found.id for found in watch.silent([_agent("a", 2), _agent("b", 7)], 31.0)] == ["b"]
    assert watch.silent([_agent("a", 2), _agent("b", 8)], 41.0) == []
    assert [found.id for found in watch.silent([_agent("a", 2), _agent("b", 8)], 51.0)] == ["a"]


def test_who_was_gone_meanwhile_is_watched_anew() -> None:
    watch = Watch(30.0)
    watch.silent([_agent("a", 1)], 0.0)
    watch.silent([], 10.0)
    assert watch.silent([_agent("a", 1)], 35.0) == []


def test_the_time_of_its_resources_ends_a_run_that_has_no_timeout() -> None:
    assert timeout({"resources": {"time": "2h"}}, "run") == 7200
    assert timeout({"resources": {"time": "2h"}, "timeout": {"run": 5}}, "run") == 5
    assert timeout({"resources": {"time": "2h"}}, "start") is None
