"""Points that are reported with a step: written cheaply, kept in bounded room, read whole."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import report, series
from launcher.errors import LaunchError
from launcher.paths import RunPaths
from launcher.runners.verdict import judge
from launcher.series import POINTS, SeriesFile, last_values, of_history, pack, read, thinned, unpack

POINT = st.fixed_dictionaries(
    {"step": st.integers(-10, 1000) | st.floats(-10, 1000)},
    optional={"loss": st.floats(0, 1), "accuracy": st.floats(0, 1)},
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    paths = RunPaths(tmp_path)
    monkeypatch.setenv("LAUNCHER_RESULT", str(paths.result))
    return paths


def test_points_go_to_a_file_of_their_own_and_their_last_values_into_the_result(run: RunPaths) -> None:
    assert report(step=1, loss=0.5) == {"step": 1, "loss": 0.5}
    report(step=2, loss=math.nan)
    report(step=2, accuracy=0.9)
    assert not run.result.exists()
    assert read(run.series) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": "NaN"}, {"step": 2, "accuracy": 0.9}]
    assert judge(0, run).result == {"loss": "NaN", "accuracy": 0.9}  # type: ignore[union-attr]
    report(loss=0.25, epochs=3)
    outcome: Any = judge(1, run)
    assert outcome.result == {"loss": 0.25, "accuracy": 0.9, "epochs": 3}
    assert unpack(outcome.series) == read(run.series)


@pytest.mark.parametrize("step", ["1", True, None, math.nan, [1]])
def test_a_step_is_a_number(run: RunPaths, step: Any) -> None:
    with pytest.raises(LaunchError, match=r"report: step is .*, expected a finite number"):
        report(step=step, loss=1)
    assert not run.series.exists()


def test_outside_of_a_run_a_point_is_returned_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert report(step=1, loss=2) == {"step": 1, "loss": 2}
    assert list(tmp_path.iterdir()) == []


def test_a_long_run_keeps_points_evenly_over_its_steps_and_its_last_one(tmp_path: Path) -> None:
    file = SeriesFile(tmp_path / "s")
    for step in range(5 * POINTS):
        file.append({"step": step, "loss": 1 / (step + 1)})
        if step % 1000 == 0:
            file.append({"step": step, "accuracy": step})
    points = read(tmp_path / "s")
    assert len(points) <= POINTS
    steps = [point["step"] for point in points if "loss" in point]
    assert steps == sorted(steps)
    assert max(after - before for before, after in itertools.pairwise(steps)) <= 16
    assert last_values(points) == {"loss": 1 / (5 * POINTS), "accuracy": 5 * POINTS - 1000}
    assert sum("accuracy" in point for point in points) == 50


def test_another_process_of_the_run_goes_on_with_its_file(tmp_path: Path) -> None:
    SeriesFile(tmp_path / "s").append({"step": 1, "loss": 1})
    SeriesFile(tmp_path / "s").append({"step": 2, "loss": 2})
    assert [point["step"] for point in read(tmp_path / "s")] == [1, 2]


@pytest.mark.parametrize("torn", [b'{"step": 2, "lo', b"\xff\n", b"[1]\n", b'{"loss": 1}\n', b'{"step": "x"}\n'])
def test_what_is_no_point_is_left_out(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "s").write_bytes(b'{"step":1,"loss":0.5}\n' + torn)
    assert read(tmp_path / "s") == [{"step": 1, "loss": 0.5}]


@pytest.mark.parametrize("beside", ["", f', "many": {2**70}'])
def test_numbers_that_json_has_not_are_kept_as_text_whoever_wrote_them(tmp_path: Path, beside: str) -> None:
    (tmp_path / "s").write_text(f'{{"step": 1, "loss": NaN{beside}}}\n{{"step": 2, "loss": -Infinity{beside}}}\n')
    points = read(tmp_path / "s")
    assert [point["loss"] for point in points] == ["NaN", "-Infinity"]
    assert unpack(pack(points) or b"") == points


def test_a_row_of_history_keeps_its_numbers_beside_what_is_none() -> None:
    row = f'{{"_step": 1, "step": NaN, "a": NaN, "b": {10**20}, "c": 2, "d": "\\ud800", "_runtime": 3}}'
    assert unpack(of_history([row.encode(), b'{"_step": 2, "\\ud800": 1}']) or b"") == [{"step": 1, "a": "NaN", "c": 2}]


@given(points=st.lists(POINT), limit=st.integers(3, 20))
def test_thinning_keeps_order_the_last_values_and_little_more_than_its_limit(points: Any, limit: int) -> None:
    kept = thinned(points, limit)
    assert len(kept) <= limit + 8  # of each of the four kinds the last one, and a stretch that is cut, come in addition
    places = iter(points)
    assert all(any(point is other for other in places) for point in kept)
    assert last_values(kept) == last_values(points)


@given(st.lists(POINT))
def test_what_is_packed_is_unpacked(points: Any) -> None:
    packed = pack(points)
    assert (unpack(packed) if packed else []) == json.loads(json.dumps(points))
    assert series.STEP == "step"
