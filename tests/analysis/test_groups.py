"""Means over seeds: equal to what pandas and SciPy make of the same numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.analysis.groups import group
from launcher.analysis.student import EXACT, estimate, quantile
from launcher.analysis.table import Ranking, tabulate
from launcher.errors import UsageError
from tests.analysis.making import record

pandas = pytest.importorskip("pandas")
NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)
RUNS = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["svm", "mlp"]),
            "lr": st.sampled_from([0.1, 1.0, 10]),
            "seed": st.integers(0, 9),
            "state": st.sampled_from(["finished"] * 4 + ["failed", "pending", "cancelled"]),
            "loss": NUMBERS | st.sampled_from([None, "NaN", "Infinity", "n/a"]),
        }
    ),
    min_size=1,
    max_size=40,
)


def table(runs: list[dict[str, Any]]) -> Any:
    return tabulate(
        record(
            {key: run[key] for key in ("model", "lr", "seed")},
            None if run["loss"] is None else {"loss": run["loss"]},
            state=run["state"],
        )
        for run in runs
    )


@given(runs=RUNS, by=st.sampled_from([["model"], ["model", "lr"], ["lr", "seed"], []]))
def test_groups_equal_pandas(runs: list[dict[str, Any]], by: list[str]) -> None:
    from scipy.stats import t

    found = group(table(runs), by)
    frame = pandas.DataFrame(runs)
    frame["loss"] = pandas.to_numeric(frame.loss, errors="coerce").replace([math.inf, -math.inf], math.nan)
    frame["one"] = 0  # for no keys at all
    parts = dict(list(frame.groupby(by or ["one"], sort=False)))
    assert len(found.groups) == len(parts)
    for each in found.groups:
        key = tuple(
            next(run[name] for run in runs if str(run[name]) == text)
            for name, text in zip(by, each.values, strict=True)
        )
        part = parts[key or (0,)]
        done = part[part.state == "finished"].loss.dropna()
        states = part.state.value_counts()
        assert (each.finished, each.failed) == (states.get("finished", 0), states.get("failed", 0))
        assert each.others == len(part) - each.finished - each.failed
        estimate = each.metrics.get("loss")
        if not len(done):
            assert estimate is None
            continue
        assert estimate is not None
        assert estimate.count == done.count()
        size = max(1.0, done.abs().max())
        assert estimate.mean == pytest.approx(done.mean(), rel=1e-9, abs=1e-9 * size)
        if len(done) == 1:
            assert (estimate.low, estimate.high) == (None, None)
        else:
            half = t.ppf(0.975, len(done) - 1) * done.sem()
            assert estimate.half == pytest.approx(half, rel=1e-6, abs=1e-9 * size)
            assert estimate.low == pytest.approx(estimate.mean - half, rel=1e-6, abs=1e-8 * size)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 29, 30, EXACT - 1, EXACT, EXACT + 1, 1000, 10**6])
def test_the_quantile_is_scipys(freedom: int) -> None:
    from scipy.stats import t

    assert quantile(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=1e-10)


def grid(**more: Any) -> Any:
    return tabulate(
        record({"model": model, "seed": seed, **more}, {"loss": seed + (model == "mlp")})
        for model in ("svm", "mlp")
        for seed in range(3)
    )


def test_over_alone_groups_by_what_else_varies_and_by_alone_means_over_it() -> None:
    for found in (group(grid(), None, ["seed"]), group(grid(), ["model"], None)):
        assert (found.by, found.over) == (("model",), ("seed",))
        assert [(each.values, each.metrics["loss"].mean) for each in found.groups] == [(("svm",), 1.0), (("mlp",), 2.0)]  # type: ignore[union-attr]


def test_groups_are_ranked_by_their_means_and_those_without_one_stand_below() -> None:
    runs = [*[record({"model": "svm"}, {"loss": loss}) for loss in (1, 2)], record({"model": "mlp"}, {"loss": 0})]
    runs += [record({"model": "vit"}, state="failed")]
    found = group(tabulate(runs), ["model"])
    assert [each.values[0] for each in found.ranked(Ranking("loss")).groups] == ["svm", "mlp", "vit"]
    assert [each.values[0] for each in found.ranked(Ranking("loss", lowest=True)).groups] == ["mlp", "svm", "vit"]


def test_a_key_that_neither_groups_nor_is_averaged_is_refused_where_it_varies() -> None:
    runs = tabulate(record({"model": "svm", "lr": lr, "seed": seed}, {"loss": 1}) for lr in (1, 2) for seed in (1, 2))
    with pytest.raises(UsageError, match="lr: differs within the groups; add it to --group-by, to --over, or choose"):
        group(runs, ["model"], ["seed"])
    assert len(group(runs, ["model", "lr"], ["seed"]).groups) == 2


def test_unknown_keys_are_told_all_at_once() -> None:
    with pytest.raises(UsageError) as error:
        group(grid(), ["modle"], ["sede"])
    assert [line.split(";")[0] for line in str(error.value).splitlines()] == [
        "no swept key 'modle'",
        "no swept key 'sede'",
    ]
    with pytest.raises(UsageError, match="seed: in --group-by and in --over"):
        group(grid(), ["seed"], ["seed"])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_numbers_of_any_size_have_a_mean_within_them(numbers: list[float]) -> None:
    found = estimate(numbers)
    assert found
    slack = 1e-12 * max(map(abs, numbers))
    assert min(numbers) - slack <= found.mean <= max(numbers) + slack
    assert all(bound is None or math.isfinite(bound) for bound in (found.low, found.high))
