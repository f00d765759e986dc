"""Plots as specifications: what they show where nobody says, that failures are told, and that any table has one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import series
from launcher.analysis.conditions import Condition
from launcher.analysis.frames import read
from launcher.analysis.table import Ranking, Results, ranking, tabulate
from launcher.analysis.values import number as exact
from launcher.canonical import finite
from launcher.errors import LaunchError, UsageError
from launcher.item import Sweep
from launcher.outcome import Failed, Finished
from launcher.plots import theme
from launcher.plots.curves import curves
from launcher.plots.render import _drawn, page
from launcher.plots.sweep import KINDS, Asked, plot
from launcher.queues import Store
from launcher.spec import LaunchSpec
from tests.analysis.making import record
from tests.queues.steps import agent, pop, start

GRID = [
    (f"model={model}", f"lr={lr}", f"seed={seed}")
    for model in ("svm", "vit")
    for lr in (0.01, 0.1, 10)
    for seed in (0, 1)
]


@pytest.fixture
def swept(store: Store) -> Store:
    """A sweep in which vit with lr=10 failed, each other run with a series of three points."""
    store.register(agent("a"))
    store.push(Sweep("s", "loss", "minimize"), [LaunchSpec({"args": list(point)}, point=point) for point in GRID])
    leases = pop(store)
    start(store, *leases)
    for number, lease in enumerate(leases):
        points = [{"step": step, "loss": number + 1 / (1 + step)} for step in range(3)]
        good = Finished({"loss": float(number)}, series.pack(points))
        store.finish([(lease, Failed("run", "exit code 1", 1) if lease.item.point[:2] == GRID[-1][:2] else good)])
    return store


def drawn(store: Store, **asked: Any) -> Any:
    table = read(store, ["s"])
    return plot(store, ["s"], table, ranking(table, store.sweeps()), Asked(**asked))


def test_without_flags_it_is_the_mean_along_the_number_with_a_colour_a_word(swept: Store) -> None:
    spec = drawn(swept)
    rows = spec["data"]["values"]
    assert [(row["color"], row["x"], row["y"], row["n"]) for row in rows] == [
        ("svm", 0.01, 0.5, 2), ("svm", 0.1, 2.5, 2), ("svm", 10, 4.5, 2), ("vit", 0.01, 6.5, 2), ("vit", 0.1, 8.5, 2),
    ]  # fmt: skip
    assert all(row["low"] < row["y"] < row["high"] for row in rows)
    assert spec["title"]["text"] == "s: loss"
    assert spec["title"]["subtitle"] == "mean ± 95 % interval (Student's t) over seed · 10 finished, 2 failed"
    [line] = [layer for layer in spec["layer"] if layer["mark"]["type"] == "line"]
    assert line["encoding"]["x"]["scale"]["type"] == "log"
    assert line["encoding"]["color"]["scale"]["range"] == list(theme.COLORS[:2])


def test_two_swept_keys_make_a_heatmap_whose_cells_tell_of_failures(swept: Store) -> None:
    for spec in (drawn(swept, kind="heatmap"), drawn(swept, x="lr", y="model")):
        cells = {(row["x"], row["y"]): (row["value"], row["text"]) for row in spec["data"]["values"]}
        assert cells["10", "svm"] == (4.5, "4.50")
        assert cells["10", "vit"] == (None, "failed")
        color = next(layer["encoding"]["color"] for layer in spec["layer"] if "color" in layer["encoding"])
        assert color["scale"]["reverse"] is True  # low is good
    assert drawn(swept, x="model", y="lr")["data"]["values"][0]["x"] == "svm"


def test_learning_curves_are_means_over_seeds(swept: Store) -> None:
    for spec in (drawn(swept, x="step"), drawn(swept, kind="curves", y="loss", color="model")):
        rows = [row for row in spec["data"]["values"] if row["line"] == 0]
        assert [(row["x"], row["y"], row["n"]) for row in rows] == [
            (0, 1.5, 2),
            (1, 1.0, 2),
            (2, pytest.approx(5 / 6), 2),
        ]
        assert len({row["line"] for row in spec["data"]["values"]}) == 5
        assert spec["title"]["subtitle"].endswith("10 finished, 2 failed · 10 with a series")


def test_parallel_coordinates_have_an_axis_for_each_key_and_the_metric(swept: Store) -> None:
    spec = drawn(swept, kind="parallel")
    points = spec["data"]["values"]
    assert {point["axis"] for point in points} == {"model", "lr", "loss"}
    assert len({point["run"] for point in points}) == 10
    assert all(0 <= point["at"] <= 1 for point in points)


def test_a_timeline_tells_when_each_run_ran_and_what_waited(swept: Store) -> None:
    spec = drawn(swept, kind="timeline")
    bars = spec["vconcat"][0]["data"]["values"]
    assert len(bars) == len(GRID)
    assert sorted(bar["state"] for bar in bars) == ["failed"] * 2 + ["finished"] * 10
    assert spec["title"]["subtitle"].endswith("12 items, 12 runs on 1 agent")
    lanes = {}
    for bar in bars:
        assert bar["since"] >= lanes.get(bar["lane"], 0.0)
        lanes[bar["lane"]] = bar["until"]


def test_a_timeline_shows_just_the_runs_of_its_table(swept: Store) -> None:
    swept.push(Sweep("s"), [LaunchSpec({}, point=("model=mlp", "lr=1", "seed=0"))])
    for condition, number, waits in (("model=vit", 6, 0), ("state=failed", 2, 0), ("model=mlp", 0, 1), ("lr>5", 4, 0)):
        table = read(swept, ["s"]).where([Condition.parse(condition)])
        spec = plot(swept, ["s"], table, None, Asked("timeline"))
        runs, *waiting = spec["vconcat"]
        items = {bar["item"] for bar in runs["data"]["values"]}
        assert items <= set(table.facts["id"])
        assert len(items) == number
        end = [row["number"] for part in waiting for row in part["data"]["values"]][-2:]
        assert [round(each) for each in end] == [waits] * len(end)
        assert f"{number + waits:,} item" in spec["title"]["subtitle"]


def test_without_a_result_it_is_a_timeline(store: Store) -> None:
    store.push(Sweep("s"), [LaunchSpec({}, point=("a=1",))])
    spec = drawn(store)
    assert spec["title"]["text"] == "s: timeline"
    waiting = spec["vconcat"][1]["data"]["values"]
    assert max(row["number"] for row in waiting) == pytest.approx(1)


def test_where_no_finished_run_has_a_number_it_is_a_timeline(store: Store) -> None:
    store.register(agent("a"))
    store.push(Sweep("s"), [LaunchSpec({}, point=("a=1",))])
    leases = pop(store)
    start(store, *leases)
    store.finish([(lease, Finished({"loss": "NaN"})) for lease in leases])
    assert drawn(store)["title"]["text"] == "s: timeline"
    with pytest.raises(LaunchError, match="no finished run of s has a number as 'loss'"):
        drawn(store, y="loss")


def test_what_does_not_fit_is_told(swept: Store, store: Store) -> None:
    with pytest.raises(UsageError, match="no column 'modle'; did you mean 'model'"):
        drawn(swept, x="modle")
    with pytest.raises(UsageError, match="'state' is no swept key and no metric"):
        drawn(swept, color="state")
    with pytest.raises(UsageError, match="no run reported a series of 'los'; did you mean 'loss'"):
        drawn(swept, kind="curves", y="los")
    with pytest.raises(UsageError, match="a timeline is one sweep's"):
        plot(store, ["s", "t"], read(store, ["s"]), None, Asked("timeline"))
    with pytest.raises(LaunchError, match="no run of s has reported a metric yet"):
        plot(store, ["s"], read(store, ["s"]), None, Asked("line"))


def test_no_text_of_a_sweep_can_end_the_script_of_its_page() -> None:
    evil = '</script><script>alert(1)</script>"\u2028'
    spec = theme.plot(evil, evil, {"data": {"values": [{"x": evil}]}})
    text = page(spec, "")
    assert text.lower().count("</script>") == 1
    assert "<script>alert" not in text
    assert "\u2028" not in text.partition("vegaEmbed")[2]


def grid(key: str, values: Sequence[str], metric: Callable[[int], Any] = float) -> Results:
    """Two seeds of each value; the metric is a function of its place."""
    return tabulate(
        record({key: value, "seed": seed}, finite({"acc": metric(place)}))
        for place, value in enumerate(values)
        for seed in (0, 1)
    )


def of(table: Results, **asked: Any) -> Any:
    """A plot that reads no store, drawn, too, where the library is there."""
    spec = plot(None, ["s"], table, Ranking("acc"), Asked(**asked))  # type: ignore[arg-type]
    if find_spec("vl_convert"):
        assert _drawn(spec, ".svg").startswith(b"<svg")
    return spec


def x_of(spec: Any) -> Any:
    return spec["layer"][-1]["encoding"]["x"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["true", "false"], ["false", "true"]),
        (["1", "auto", "true", "null", "1.5"], ["true", "1", "1.5", "auto", "null"]),
        (["0.1", "nan", "-inf"], ["-inf", "0.1", "nan"]),
        (["1" + "0" * 400, "1"], ["1", "1" + "0" * 400]),
        (["1", "'1'", "'a b'"], ["1", "a b", "'1'"]),
        (["svm"], ["svm"]),
    ],
)
def test_values_that_are_no_numbers_stand_side_by_side(values: list[str], labels: list[str]) -> None:
    spec = of(grid("x", values), x="x")
    x = x_of(spec)
    assert (x["type"], sorted(x["sort"])) == ("nominal", sorted(labels))
    assert sorted(row["x"] for row in spec["data"]["values"]) == sorted(labels)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (["0.001", "0.01", "1"], {"type": "log"}),
        (["0", "0.001", "0.01", "1"], {"type": "symlog", "constant": 0.001}),
        (["-10", "-1", "0", "100"], {"type": "symlog", "constant": 1}),
        (["-1", "0", "1"], {"type": "linear"}),
        (["3"], {"type": "linear"}),
    ],
)
def test_an_axis_of_decades_has_a_place_for_zero_and_negative_numbers(values: list[str], scale: dict[str, Any]) -> None:
    x = x_of(of(grid("lr", values), x="lr"))
    assert scale.items() <= x["scale"].items()
    assert x["axis"] == {"format": ".12~g", "values": [float(value) for value in values]}


def test_one_value_is_drawn_and_said_as_it_is() -> None:
    spec = of(grid("lr", ["3"], lambda _: 0.25), x="lr")
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["rule", "point"]
    assert spec["layer"][-1]["encoding"]["y"]["axis"] == {"values": [0.25], "format": ".6~g"}
    many = of(grid("lr", ["1", "2", "3"], lambda _: 0.25), kind="parallel")
    assert {point["at"] for point in many["data"]["values"] if point["axis"] == "acc"} == {0.5}
    assert {mark["text"] for mark in many["layer"][-1]["data"]["values"] if mark["axis"] == "acc"} == {"0.25"}


@pytest.mark.parametrize("value", [math.nan, -math.inf, "good", True, [1], 10**400])
@pytest.mark.parametrize("kind", ["line", "heatmap", "parallel"])
def test_a_metric_without_a_number_is_told(value: Any, kind: str) -> None:
    table = grid("lr", ["1", "2"], lambda _: value)
    with pytest.raises(LaunchError, match=r"no finished run of s has a number as 'acc'.*--kind timeline"):
        of(table, kind=kind)
    other = [record({"lr": str(lr)}, finite({"acc": value, "loss": 1.0})) for lr in (1, 2)]
    with pytest.raises(LaunchError, match="name another metric with --best: loss"):
        of(tabulate(other), y="acc")


def test_numbers_among_others_are_drawn() -> None:
    some = [1.0, math.nan, math.inf, 3.0, "bad", True]
    spec = of(grid("lr", list("012345"), lambda place: some[place]))
    assert [(row["x"], row["y"]) for row in spec["data"]["values"]] == [(0, 1.0), (3, 3.0)]


def test_learning_curves_of_any_series_are_drawn() -> None:
    table = grid("flag", ["true", "1", "'1'"])
    values = (True, True, 1, 1, "1", "1")
    rows = [
        {"id": run, "flag": value, "seed": place % 2, "step": step, "acc": 10.0**-step * (1 + 30 * (place % 2))}
        for place, (run, value) in enumerate(zip(table.facts["id"], values, strict=True))
        for step in range(5)
    ]
    spec = curves(table, rows, Ranking("acc"), "flag", "s: acc")
    assert {row["color"] for row in spec["data"]["values"]} == {"true", "1", "'1'"}
    assert spec["layer"][0]["encoding"]["y"]["scale"]["type"] == "log"
    assert min(row["low"] for row in spec["data"]["values"]) > 0
    alone = curves(table, [row for row in rows if row["step"] == 2], Ranking("acc"), "flag", "s: acc")
    assert all(row["alone"] for row in alone["data"]["values"])
    if find_spec("vl_convert"):
        assert b"<circle" in _drawn(alone, ".svg") or b"<path" in _drawn(alone, ".svg")
        assert _drawn(spec, ".svg")


VALUES = st.sampled_from(
    ["0.1", "1e-3", "0", "svm", "null", "'a b'", "true", "[1,2]", "-5", "nan", "1e400", "1_", "'1'"]
)
RUNS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["lr", "model.name", "seed", "a", "b"]), VALUES),
        st.dictionaries(
            st.sampled_from(["loss", "lr", "x.y"]), st.floats() | st.integers() | st.sampled_from(["NaN", None, [1]])
        ),
        st.sampled_from(["finished", "finished", "failed", "pending"]),
    ),
    max_size=12,
)


@given(runs=RUNS, kind=st.sampled_from([None, *KINDS[:3]]), lowest=st.booleans())
def test_any_table_has_a_plot_or_is_told_why_not(runs: Any, kind: str | None, lowest: bool) -> None:
    table = tabulate(record(point, finite(result), state=state) for point, result, state in runs)
    ranked = Ranking(next(iter(table.metrics)), lowest) if table.metrics else None
    told = zip(table.finished(), table.metrics[ranked.metric], strict=True) if ranked else ()
    if kind is None and not any(done and exact(value) is not None for done, value in told):
        return  # a timeline, which reads the store
    try:
        spec = plot(None, ["s"], table, ranked, Asked(kind))  # type: ignore[arg-type]  # it reads no store
    except LaunchError:
        return
    assert json.loads(json.dumps(spec, allow_nan=False)) == spec
