"""What may happen in a story (story.py) and to what: hypothesis draws from these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from launcher.item import QueueInfo, RunState
from launcher.outcome import Cancelled, Failed, Finished, Lost, Preempted
from tests.queues.work import POLICIES, Work

AGENTS = st.sampled_from(["a", "b", "c"])
QUEUES = st.sampled_from(["default", "limited", "plain"])
SWEEPS = st.sampled_from([None, "s", "t"])
SMALL = st.integers(0, 3)
PLACES = st.integers(0, 40)
"""Which of some things that only the story knows, counted from the newest, and again from it beyond the oldest."""

WORKS = st.builds(
    Work,
    seed=st.integers(0, 5),
    queue=QUEUES,
    priority=SMALL,
    policy=st.sampled_from(POLICIES),
    wait_at_most=st.sampled_from([None, None, 30.0, 120.0]),
    run_id=st.sampled_from([None, None, None, "x", "y"]),
)
OUTCOMES = st.sampled_from(
    [
        Finished(),
        Finished({"accuracy": 0.5}),
        Failed("run", "exit code 1", 1),
        Failed("run", "exit code 75", 75, {"loss": 1}),
        Failed("timeout", "ran for too long", -15),
        Failed("prepare", "no such commit"),
        Cancelled(),
        Preempted("its agent left"),
        Preempted("no place for it", begun=False),
        Lost("gone"),
    ]
)
LEASES = st.tuples(st.sampled_from(["current", "current", "any", "mixed"]), PLACES)
"""A lease that somebody holds; any that was ever given; the token of one with the item of another."""

CONDITIONS = st.one_of(
    st.builds(lambda places: {"ids": places}, st.lists(PLACES, min_size=1, max_size=4)),
    st.builds(lambda state: {"states": frozenset({state})}, st.sampled_from(list(RunState))),
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "sweep": st.sampled_from(["s", "t"]),
            "queue": QUEUES,
            "states": st.frozensets(st.sampled_from(list(RunState)), min_size=2),
            "points": st.sampled_from([("even=True",), ("even=True", "seed=2")]),
        },
    ),
)
QUEUE_SETTINGS = st.builds(
    QueueInfo,
    name=QUEUES,
    resource=st.just("local-process"),
    prioritization=st.sampled_from(["V0", "DISABLED"]),
    paused=st.sampled_from([False, False, False, True]),
    max_running=st.sampled_from([None, 1, 2, 3]),
)


MOVES: dict[str, st.SearchStrategy[dict[str, Any]]] = {}
CHOICES: list[str] = []


def move(often: int = 1, **arguments: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Mark a method of the story as something that may happen next, so `often` as likely as others."""

    def mark(method: Any) -> Any:
        MOVES[method.__name__] = st.fixed_dictionaries(arguments)
        CHOICES.extend([method.__name__] * often)
        return method

    return mark
