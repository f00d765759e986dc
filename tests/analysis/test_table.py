"""The table of results: which columns there are, what conditions keep, how rows are ranked."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.analysis.conditions import Condition
from launcher.analysis.frames import exported
from launcher.analysis.table import Ranking, ranking, tabulate
from launcher.errors import UsageError
from launcher.item import Sweep
from tests.analysis.making import record


def kept(table: Any, *conditions: str) -> list[str]:
    return list(table.where(map(Condition.parse, conditions)).column("seed"))


RUNS = tabulate(
    record({"model": model, "+lr": lr, "seed": seed}, {"accuracy": value, "curve": [seed - 3, 2]}, **more)
    for seed, (model, lr, value, more) in enumerate(
        [
            ("svm", "0.1", 0.5, {}),
            ("svm", "1e-3", 0.9, {}),
            ("mlp", "10", "NaN", {}),
            ("'a b'", "null", 0.7, {"state": "failed"}),
            ("true", "[1,2]", 1, {}),
        ]
    )
)


@pytest.mark.parametrize(
    ("condition", "seeds"),
    [
        ("model=svm", "01"),
        ("model!=svm", "234"),
        ("lr<=0.1", "01"),
        ("lr=1e-1", "0"),
        ("lr>0.05", "02"),
        ("+lr=10", "2"),
        ("lr=[1,2]", "4"),
        ("model='a b'", "3"),
        ("model=a b", "3"),
        ("model=true", "4"),
        ("accuracy>=0.7", "134"),
        ("accuracy=NaN", "2"),
        ("state=failed", "3"),
        ("attempt=1", "01234"),
        ("model>m", "012"),
        ("seed < 2", "01"),
        ("model='true'", ""),
        ("model=1", ""),
        ("accuracy=true", ""),
        ("accuracy=nan", "2"),
        ("seed<true", ""),
        ("curve=[1, 2]", "4"),
        ("curve!=[1, 2]", "0123"),
    ],
)
def test_a_condition_keeps_what_it_says(condition: str, seeds: str) -> None:
    assert "".join(kept(RUNS, condition)) == seeds


def test_all_conditions_must_hold_and_a_bad_one_is_told() -> None:
    assert kept(RUNS, "model=svm", "accuracy>0.6") == ["1"]
    with pytest.raises(UsageError, match="no column 'lrr'; did you mean 'lr'"):
        kept(RUNS, "lrr=1")
    with pytest.raises(UsageError, match="--where 'model' is no condition"):
        Condition.parse("model")


def test_only_keys_that_differ_vary_and_one_that_some_runs_lack_does() -> None:
    table = tabulate([record({"a": 1, "b": 2, "c": 3}), record({"a": 1, "b": 3})])
    assert (list(table.keys), table.varying) == (["a", "b", "c"], ("b", "c"))
    assert table.values_of("c") == ["3", None]


def test_columns_of_one_name_are_told_apart() -> None:
    table = tabulate([record({"lr": 1, "state": "x"}, {"lr": 2, "id": 3, "loss": 4})])
    assert (list(table.keys), list(table.metrics)) == (["lr", "config.state"], ["result.lr", "result.id", "loss"])


def test_rows_are_ranked_finished_ones_first() -> None:
    assert RUNS.ranked(Ranking("accuracy")).column("seed") == ["4", "1", "0", "2", "3"]
    assert RUNS.ranked(Ranking("accuracy", lowest=True), 2).column("seed") == ["0", "1"]
    assert RUNS.ranked(None).column("seed") == ["0", "1", "2", "4", "3"]


def test_a_long_text_that_is_no_condition_is_told_at_once() -> None:
    """A pattern with several ways to read the spaces would take for ever."""
    with pytest.raises(UsageError, match="is no condition"):
        Condition.parse_all(" " * 20_000 + "a")


@pytest.mark.parametrize("text", ["=1", "  >= 2", "+=3"])
def test_a_condition_names_a_column(text: str) -> None:
    with pytest.raises(UsageError, match="is no condition"):
        Condition.parse(text)


def test_a_metric_that_has_the_name_of_a_column_ranks_as_its_sweep_says() -> None:
    runs = tabulate([record({"seed": 1}, {"seconds": 9}), record({"seed": 2}, {"seconds": 1})])
    sweep = Sweep("s", "seconds", "minimize")
    assert ranking(runs, [sweep]) == Ranking("result.seconds", lowest=True)
    assert ranking(runs, [sweep], best="seconds") == Ranking("result.seconds", lowest=True)
    assert ranking(runs, [], best="result.seconds") == Ranking("result.seconds")


def test_without_a_metric_of_its_own_a_sweep_ranks_by_the_first_that_has_numbers() -> None:
    runs = tabulate([record({"seed": 1}, {"note": "hello", "accuracy": 0.5})])
    assert ranking(runs, [Sweep("s")]) == Ranking("accuracy")
    assert ranking(tabulate([record({"seed": 1}, {"note": "hello"})]), [Sweep("s")]) == Ranking("note")


def test_the_sweeps_own_metric_and_goal_rank_unless_others_are_asked_for() -> None:
    runs = tabulate([record({"seed": 1}, {"accuracy": 1, "loss": 2})])
    down, plain = Sweep("s", "loss", "minimize"), Sweep("t")
    assert ranking(runs, [plain]) == Ranking("accuracy")
    assert ranking(runs, [down, plain]) == Ranking("loss", lowest=True)
    assert ranking(runs, [down], best="loss") == Ranking("loss", lowest=True)
    assert ranking(runs, [down], best="accuracy") == Ranking("accuracy")
    assert ranking(runs, [down], highest="loss") == Ranking("loss")
    assert ranking(tabulate([record()]), [down], best="loss") is None
    with pytest.raises(UsageError, match="no run reported a metric 'los'; did you mean 'loss'"):
        ranking(runs, [down], lowest="los")
    with pytest.raises(UsageError, match="rank by one metric"):
        ranking(runs, [down], lowest="loss", best="loss")


def test_exported_values_are_what_they_mean() -> None:
    columns = exported(RUNS)
    assert columns["lr"] == [0.1, 0.001, 10, None, "[1,2]"]
    assert columns["model"] == ["svm", "svm", "mlp", "a b", True]
    assert str(columns["accuracy"]) == "[0.5, 0.9, nan, 0.7, 1]"
    assert "sweep" not in columns


def test_a_key_that_is_called_name_stays_so_where_runs_have_no_names() -> None:
    plain = tabulate(record({"name": value}) for value in "ab")
    assert (plain.varying, plain.naming(), list(plain.column("name"))) == (("name",), [], ["a", "b"])
    named = tabulate(record({"name": value}, name=value * 2) for value in "ab")
    assert (named.varying, named.naming(), list(named.column("name"))) == (("config.name",), ["name"], ["aa", "bb"])
    assert list(tabulate([record(name="x")]).column("name")) == ["x"]


def test_a_table_of_nothing_is_empty() -> None:
    table = tabulate([])
    assert (len(table), table.varying, table.ranked(None).tally()) == (0, (), {})
