"""Failures folded by cause, and what the runs of one have in common."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.analysis.conditions import Condition
from launcher.analysis.failures import KINDS, cause, fold
from launcher.analysis.table import tabulate
from tests.analysis.making import record


@pytest.mark.parametrize(
    ("stage", "exit_code", "reason", "kind", "title"),
    [
        ("run", 1, "exit code 1: ValueError: lr 3 (a.py:9 in fit)", "exception", "ValueError (a.py:9 in fit)"),
        ("run", 1, "exit code 1: ValueError (a.py:9 in fit)", "exception", "ValueError (a.py:9 in fit)"),
        ("run", 1, "exit code 1: ValueError: (2) (a.py:9 in <module>)", "exception", "ValueError (a.py:9 in <module>)"),
        (
            "run",
            1,
            "exit code 1: torch.cuda.OutOfMemoryError: x (a.py:1 in f)",
            "out of memory",
            "out of memory (a.py:1 in f)",
        ),
        ("run", -9, "out of memory: it was killed at its limit of 64 MiB; …", "out of memory", "out of memory"),
        ("run", 1, "exit code 1: KeyError: 'x7'", "exception", "KeyError"),
        ("run", -9, "killed by SIGKILL: epoch 3", "signal", "killed by SIGKILL"),
        ("run", 3, "exit code 3: no file /tmp/a1", "exit code", "exit code 3: no file …"),
        ("run", 3, "exit code 3", "exit code", "exit code 3"),
        (
            "timeout",
            None,
            "ran for longer than its timeout of 5 s; exit code 3",
            "timeout",
            "ran for longer than its timeout of … s; exit code …",
        ),
        ("lost", None, "its agent (pid 77) died", "lost", "its agent (pid …) died"),
        ("prepare", None, "no code at /x/y", "preparation", "no code at …"),
        ("submit", None, "the program 'x' is not on PATH (/bin)", "submission", "the program … is not on PATH (…)"),
        ("result", 0, "the result is not JSON (line 1)", "result", "the result is not JSON (line …)"),
        (None, None, None, "exit code", "unknown"),
    ],
)
def test_a_cause_is_told_by_what_the_store_has(
    stage: str | None, exit_code: int | None, reason: str | None, kind: str, title: str
) -> None:
    found = cause(stage, exit_code, reason)
    assert (found.kind, found.title) == (kind, title)
    assert found.kind in KINDS
    assert len(found.key) == 6


def failing(points: list[dict[str, Any]], *bad: int) -> Any:
    failed = {"state": "failed", "stage": "run", "exit_code": 1, "reason": "exit code 1: ValueError: x (a.py:1 in f)"}
    return tabulate(record(point, **(failed if row in bad else {})) for row, point in enumerate(points))


GRID = [{"model": model, "lr": lr, "seed": seed} for model in ("svm", "vit") for lr in (1, 10, 100) for seed in (0, 1)]


@pytest.mark.parametrize(
    ("bad", "conditions", "of"),
    [
        (range(6, 12), ("model=vit",), 6),
        ((10, 11), ("lr>=100", "model=vit"), 2),
        ((2, 3, 4, 5, 8, 9, 10, 11), ("lr>=10",), 8),
        ((0, 1, 6, 7), ("lr=1",), 4),
        ((6, 8, 9), ("lr<=10", "model=vit"), 4),
        ((3,), (), None),
        (range(12), (), None),
    ],
)
def test_what_failed_runs_share_and_others_do_not(bad: Any, conditions: tuple[str, ...], of: int | None) -> None:
    [failure] = fold(failing(GRID, *bad))
    assert failure.rows == tuple(bad)
    found = failure.common
    assert (set(found.conditions) if found else set(), found.of if found else None) == (
        {condition.replace(">=100", "=100") for condition in conditions},
        of,
    )


def test_the_most_frequent_cause_comes_first_and_waiting_runs_do_not_count() -> None:
    table = tabulate(
        [
            *(record({"seed": seed}, state="failed", reason="exit code 2", exit_code=2) for seed in (1, 2)),
            record({"seed": 3}, state="failed", reason="killed by SIGSEGV", exit_code=-11),
            record({"seed": 1}, state="pending"),
            record({"seed": 4}),
        ]
    )
    first, second = fold(table)
    assert (first.cause.title, len(first.rows), second.cause.title) == ("exit code 2", 2, "killed by SIGSEGV")
    assert first.common
    assert (first.common.conditions, first.common.of) == (("seed<=2",), 2)
    assert fold(tabulate([record()])) == []


RUNS = st.lists(
    st.tuples(
        st.fixed_dictionaries(
            {}, optional={"a": st.sampled_from([1, 2.5, "x"]), "b": st.integers(0, 5), "c": st.booleans()}
        ),
        st.sampled_from(["finished", "failed", "pending"]),
        st.integers(1, 2),
    ),
    max_size=25,
)


@given(RUNS)
def test_every_failed_run_is_in_one_fold_and_what_it_shares_is_true(runs: Any) -> None:
    table = tabulate(
        record(
            {key: str(value).lower() for key, value in point.items()},
            state=state,
            exit_code=code,
            reason=f"exit code {code}",
        )
        for point, state, code in runs
    )
    folded = fold(table)
    assert sorted(row for each in folded for row in each.rows) == [
        row for row, (_, state, _) in enumerate(runs) if state == "failed"
    ]
    for each in folded:
        if each.common:
            having = [
                row
                for row in range(len(table))
                if table.facts["state"][row] != "pending"
                and all(
                    any(
                        Condition.parse(part).holds(table.column(Condition.parse(part).column)[row], written=True)
                        for part in text.split(" or ")
                    )
                    for text in each.common.conditions
                )
            ]
            assert len(having) == each.common.of
            assert set(each.rows) <= set(having)
