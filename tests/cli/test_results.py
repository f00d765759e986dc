"""The results of sweeps: ranked, selected, grouped, in every format, with their series."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable

import pytest

import launcher
from tests.conftest import Project, Result

Cli = Callable[..., Result]


def test_results_are_ranked_and_failures_stay_in_sight(done: Cli) -> None:
    lines = done("results", "s", "--lowest", "loss").out.splitlines()
    assert lines[0].split() == ["ID", "STATE", "seed", "loss", "good", "TOOK", "REASON"]
    assert [line.split()[1:5] for line in lines[1:4]] == [
        ["finished", "0", "0", "true"], ["finished", "1", "0.1", "true"], ["failed", "2", "0.2", "true"],
    ]  # fmt: skip
    assert "exit code 1: seed 2" in lines[3]
    assert lines[4] == "2 finished, 1 failed (by loss, lowest first)"
    assert done("results", "s").out.splitlines()[1].split()[2] == "1"
    assert "no run reported a metric 'los'; did you mean 'loss'?" in done("results", "s", "--best", "los").err


def test_status_and_results_show_what_conditions_select(done: Cli) -> None:
    states = [item["state"] for item in json.loads(done("status", "--state", "failed,pending", "--json").out)]
    assert states == ["failed"]
    assert [item["point"][-1] for item in json.loads(done("status", "s", "--where", "seed=1", "--json").out)] == [
        "seed=1"
    ]
    assert done("status", "s", "--where", "seed=1", "--state", "failed").out == "no items\n"
    rows = json.loads(done("results", "s", "--state", "finished", "--where", "model=svm", "--json").out)
    assert [row["loss"] for row in rows] == [0.1, 0]
    assert json.loads(done("results", "s", "--queue", "default", "--where", "seed=5", "--json").out) == []


@pytest.fixture
def grid(cli: Cli, project: Project) -> Cli:
    """A sweep `g` of two models and three seeds that reported a series too; svm with seed 2 failed."""
    project.write(
        "steps.py",
        "import sys, launcher\n"
        "point = dict(word.split('=') for word in sys.argv[1:])\n"
        "for step in range(3):\n"
        "    launcher.report(step=step, loss=float(point['seed']) + (point['model'] == 'mlp') - step / 10)\n"
        "launcher.report(done=True)\n"
        "sys.exit(point == {'model': 'svm', 'seed': '2'})\n",
    )
    grid = ["-m", "model=svm,mlp", "seed=range(3)", "--", "python", "steps.py"]
    assert cli("add", "--sweep", "g", *grid).code == 0
    assert cli("agent", "--drain", "-j", "2").code == 0
    return cli


def test_groups_have_means_with_their_intervals_and_count_what_failed(grid: Cli) -> None:
    *lines, last = grid("results", "g", "--over", "seed", "--lowest", "loss").out.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "model loss FINISHED FAILED", "svm 0.3 ± 6.4 2 1", "mlp 1.8 ± 2.5 3 0",
    ]  # fmt: skip
    how = "means over seed ± half of the 95 % interval (Student's t)"
    assert last == f"{how}; 5 finished, 1 failed (by loss, lowest first)"
    [svm, mlp] = json.loads(grid("results", "g", "--group-by", "model", "--lowest", "loss", "--json").out)
    assert (svm["model"], svm["loss.count"], svm["failed"], mlp["finished"]) == ("svm", 2, 1, 3)
    assert svm["loss.mean"] == pytest.approx(0.3)
    assert svm["loss.low"] < svm["loss.mean"] < svm["loss.high"]
    printed = grid("results", "g", "--group-by", "model", "--where", "seed<1", "--format", "csv").out
    assert printed.splitlines()[0] == "model,loss.mean,loss.low,loss.high,loss.count,finished,failed,others"


def test_the_best_rows_and_the_columns_that_were_asked_for(grid: Cli) -> None:
    out = grid("results", "g", "--lowest", "loss", "--top", "2", "--columns", "seed,loss").out
    assert out.splitlines() == [
        "seed  loss", "0     -0.2", "1      0.8", "5 finished, 1 failed; 2 shown (by loss, lowest first)"
    ]  # fmt: skip
    assert "no column 'los'; did you mean 'loss'" in grid("results", "g", "--columns", "los").err
    assert "no sweep named 'h'" in grid("results", "g", "h").err


def test_series_are_kept_and_read_afterwards(grid: Cli, project: Project) -> None:
    shutil.rmtree(project.folder / ".launcher/runs")
    printed = grid("results", "g", "--series", "--where", "seed=1", "--format", "csv").out
    rows = csv.DictReader(io.StringIO(printed))
    assert [(row["model"], row["step"], round(float(row["loss"]), 6)) for row in rows] == [
        (model, str(step), round(1 + (model == "mlp") - step / 10, 6)) for model in ("svm", "mlp") for step in range(3)
    ]
    assert grid("results", "g", "--series", "--top", "1").code == 2


def test_a_run_that_took_too_long_keeps_its_series(cli: Cli, project: Project) -> None:
    project.write("slow.py", "import launcher, time\nlauncher.report(step=1, loss=0.5)\ntime.sleep(1000)\n")
    project.write("s.yaml", "name: t\ntimeout: {run: 3s}\n")
    assert cli("add", "s.yaml", "--", "python", "slow.py").code == 0
    assert cli("agent", "--drain").code == 0
    [row] = json.loads(cli("results", "t", "--json").out)
    assert (row["state"], row["loss"]) == ("failed", 0.5)
    assert row["reason"].startswith("ran for longer than its timeout of 3 s")
    assert cli("results", "t", "--series", "--format", "csv").out.splitlines()[1:] == [f"{row['id']},1,0.5"]


def test_results_as_frames_and_parquet(grid: Cli, project: Project) -> None:
    pandas = pytest.importorskip("pandas")
    grid("results", "g", "-o", "g.parquet")
    stored = pandas.read_parquet(project.folder / "g.parquet")
    frame = launcher.results("g")
    assert list(frame.columns) == ["id", "state", "attempt", "seconds", "reason", "model", "seed", "done", "loss"]
    assert sorted(stored.columns) == sorted({*frame.columns} - {"attempt"})
    assert sorted(stored.loss.dropna()) == sorted(frame.loss.dropna())
    assert frame.query("state == 'finished'").groupby("model").loss.mean().round(6).to_dict() == {
        "mlp": 1.8,
        "svm": 0.3,
    }
    points = launcher.results("g", where="model=svm", series=True)
    assert (len(points), list(points.columns)) == (9, ["id", "model", "seed", "step", "loss"])
    with pytest.raises(launcher.LaunchError, match="no sweep named 'h'"):
        launcher.results("h")
    assert grid("results", "g", "--format", "parquet").code == 2
    assert "ends in no known format" in grid("results", "g", "-o", "g.xls").err


def test_names_of_runs_are_a_column_where_there_are_some(done: Cli, project: Project) -> None:
    assert "NAME" not in done("results", "s").out
    assert "name" not in json.loads(done("results", "s", "--json").out)[0]
    named = ["+launch.name='run of ${seed}'", "seed=range(2)"]
    assert done("add", "--sweep", "t", "-m", *named, "--", "python", "program.py").code == 0
    assert done("agent", "--drain").code == 0
    lines = done("results", "t", "--highest", "loss").out.splitlines()
    assert lines[0].split()[:3] == ["ID", "NAME", "STATE"]
    assert [line[10:18] for line in lines[1:3]] == ["run of 1", "run of 0"]
    assert len(done("results", "t", "--where", "name=run of 1", "--columns", "name").out.splitlines()) == 3
    assert {row["name"] for row in json.loads(done("results", "s", "t", "--json").out)} == {
        None,
        "run of 0",
        "run of 1",
    }
    assert list(launcher.results("t").columns[:3]) == ["id", "name", "state"]


def test_several_sweeps_are_one_table(done: Cli, project: Project) -> None:
    assert done("add", "--sweep", "t", "-m", "model=mlp", "seed=range(2)", "--", "python", "program.py").code == 0
    assert done("agent", "--drain").code == 0
    lines = done("results", "s", "t").out.splitlines()
    assert lines[0].split() == ["ID", "SWEEP", "STATE", "model", "seed", "loss", "good", "TOOK", "REASON"]
    assert lines[-1].startswith("4 finished, 1 failed")
    by_sweep = done("results", "s", "t", "--group-by", "sweep").out.splitlines()
    assert [line.split()[0] for line in by_sweep[1:3]] == ["s", "t"]


def test_results_as_csv_and_json(done: Cli) -> None:
    rows = list(csv.DictReader(io.StringIO(done("results", "s", "--format", "csv").out)))
    records = json.loads(done("results", "s", "--format", "json").out)
    assert [int(row["seed"]) for row in rows] == [record["seed"] for record in records] == [1, 0, 2]
    assert [float(row["loss"]) for row in rows] == [record["loss"] for record in records]


def test_lists_mappings_and_truth_values_are_json_in_csv(cli: Cli, project: Project) -> None:
    told = {"curve": [1, 0.5, "é\r"], "best": {"step": 3, "of": None}, "good": True, "bad": False, "loss": 1 / 3}
    told["note"] = "a\rb"
    project.write("program.py", f"import launcher\nlauncher.report(**{told!r})\n")
    assert cli("add", "--sweep", "j", "--", "python", "program.py").code == 0
    assert cli("agent", "--drain").code == 0
    assert cli("results", "j", "-o", "j.csv").code == 0
    with (project.folder / "j.csv").open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert row["note"] == told.pop("note")
    assert {name: json.loads(row[name]) for name in told} == told
    assert row["best"] == '{"step": 3, "of": null}'
    for name in ("curve", "best", "good"):
        assert cli("results", "j", "--where", f"{name}={row[name]}").out.splitlines()[-1].startswith("1 finished")
