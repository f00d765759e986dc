"""A sweep from plan to results, through the commands a person types."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import launcher
from launcher import launch_add
from launcher.item import AgentInfo
from launcher.queues import open_store
from tests.conftest import Project, Result, until

Cli = Callable[..., Result]
PROGRAM = """\
import sys, launcher
seed = int(sys.argv[-1].split("=")[1])
print("seed", seed)
launcher.report(loss=seed / 10, good=True)
sys.exit(seed == 2)
"""


@pytest.fixture
def done(cli: Cli, project: Project) -> Cli:
    """A sweep `s` of three runs that was run to its end; seed=2 failed."""
    project.write("program.py", PROGRAM)
    assert cli("add", "--sweep", "s", "-m", "model=svm", "seed=range(3)", "--", "python", "program.py").code == 0
    assert cli("agent", "--drain", "-j", "2").code == 0
    return cli


def tree(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_plan_prints_every_point_and_writes_nothing(cli: Cli, project: Project) -> None:
    before = tree(project.folder)
    result = cli("plan", "-m", "model=svm,mlp", "seed=1,2", "-p", "high", "--sweep", "s", "--", "python", "t.py", "a b")
    assert result.code == 0
    assert result.out == (
        "sweep s: 4 points; nothing is written\n"
        "1  model=svm seed=1\n   queue default, priority high: python t.py 'a b' model=svm seed=1\n"
        "2  model=svm seed=2\n   queue default, priority high: python t.py 'a b' model=svm seed=2\n"
        "3  model=mlp seed=1\n   queue default, priority high: python t.py 'a b' model=mlp seed=1\n"
        "4  model=mlp seed=2\n   queue default, priority high: python t.py 'a b' model=mlp seed=2\n"
        f"code: {project.folder}, in place: later edits reach the runs\n"
    )
    assert tree(project.folder) == before


def test_plan_explains_how_its_points_were_composed(cli: Cli) -> None:
    result = cli("plan", "-m", "model=svm,mlp", "seed=range(3)", "--explain", "--", "true")
    assert result.err == "6 points patched\n"
    again = cli("plan", "-m", "lr=0.1", "model.kernel=[1],[2]", "--explain", "--", "true")
    assert again.err == "2 points patched\n"


def test_plan_reads_the_queues_of_a_store_and_writes_nothing(cli: Cli, project: Project) -> None:
    cli("queue", "create", "slow", "--prioritization", "DISABLED")
    before = tree(project.folder)
    assert "queue slow" in cli("plan", "-q", "slow", "--", "true").out
    assert "prioritization disabled" in cli("plan", "-q", "slow", "-p", "high", "--", "true").err
    assert tree(project.folder) == before


def test_what_is_planned_is_what_is_added(cli: Cli) -> None:
    grid = ["-m", "model=svm,mlp", "seed=range(2)", "--sweep", "s", "--json", "--", "true", "--x"]
    planned = json.loads(cli("plan", *grid).out)
    ids = json.loads(cli("add", *grid).out)["ids"]
    added = [json.loads(cli("show", item, "--json").out) for item in ids]
    assert [entry["spec"] for entry in planned] == [item["spec"] for item in added]
    assert [entry["overrides"] for entry in planned] == [item["point"] for item in added]


def test_adding_a_sweep_again_adds_what_is_missing(cli: Cli) -> None:
    cli("add", "--sweep", "s", "-m", "seed=1,2", "--", "true")
    again = cli("add", "--sweep", "s", "-m", "seed=1,2,3", "--", "true")
    assert again.out.startswith("sweep s: 1 added; 2 are there already: 2 pending (--again adds them once more)\n")
    forced = cli("add", "--again", "--sweep", "s", "-m", "seed=1,2,3", "--", "true")
    assert forced.out.startswith("sweep s: 3 added\n")


def test_a_sweep_file_is_a_grid(cli: Cli, project: Project) -> None:
    project.write(
        "s.yaml", "overrides: [lr=0.5]\npriority: low\ngrid:\n  model: [svm, mlp]\n  seed: range(2)\n  name: [a b]\n"
    )
    planned = json.loads(cli("plan", "s.yaml", "+x=1", "--json", "--", "true").out)
    assert [entry["overrides"] for entry in planned] == [
        ["lr=0.5", f"model={model}", f"seed={seed}", "name='a b'", "+x=1"]
        for model in ("svm", "mlp")
        for seed in (0, 1)
    ]
    assert {entry["sweep"] for entry in planned} == {"s"}
    assert {entry["priority"] for entry in planned} == {3}


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
    assert done("status", "s", "--where", "seed=1", "--state", "failed").out.splitlines()[1:] == [""]
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


def test_status_counts_queues_and_sweeps(done: Cli) -> None:
    lines = done("status").out.splitlines()
    assert lines[1].split() == ["default", "0", "0", "0", "2", "1", "0"]
    assert lines[4].split() == ["s", "0", "0", "0", "2", "1", "0"]
    assert lines[-1] == "no agent is running; start one: launcher agent"
    overview = json.loads(done("status", "--json").out)
    assert overview["sweeps"][0]["counts"]["finished"] == 2
    assert overview["sweeps"][0]["held"] == {}
    assert done("status", "s").out.splitlines()[-1] == "2 finished, 1 failed"


def test_show_tells_the_story(done: Cli) -> None:
    [failed] = [item for item in json.loads(done("status", "s", "--json").out) if item["state"] == "failed"]
    shown = done("show", failed["id"][:6]).out
    assert "state      failed: run: exit code 1: seed 2\n" in shown
    assert "command    python program.py model=svm seed=2\n" in shown
    assert "kernel: rbf" in shown
    story = [line.split("  ")[-1] for line in shown.split("story\n")[1].splitlines()[:4]]
    assert story[0] == "added"
    assert [line.split(" ")[0] for line in story[1:]] == ["leased", "running", "failed"]


def test_show_of_a_sweep_says_what_to_use(done: Cli) -> None:
    for command in ("show", "logs"):
        assert "'s' is a sweep; launcher status s shows its items" in done(command, "s").err


def test_a_sweeps_name_says_more_than_the_beginning_of_an_id(project: Project, cli: Cli) -> None:
    project.write("train.py", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        launch_add(uri=".", entry_point=["python", "train.py"], run_id="firsthand", sweep_id="first")
    assert "'first' is a sweep" in cli("show", "first").err
    assert "item       firsthand" in cli("show", "firsth").out


def test_retry_queues_only_what_failed_and_wait_tells(done: Cli) -> None:
    assert done("wait", "s").code == 1
    assert done("retry", "s").out == "1 queued again\n"
    waiting = done("wait", "s", "--timeout", "0")
    assert waiting.code == 1
    assert "1 of 3 items had not ended after 0 s: 1 pending, 2 finished" in waiting.err
    assert done("cancel", "s").out == "1 waiting cancelled, 0 running being stopped\n"
    assert done("wait", "s").out == "2 finished, 1 cancelled\n"


def test_retrying_a_finished_item_is_refused(done: Cli) -> None:
    [item, *_] = json.loads(done("results", "s", "--json").out)
    assert f"only failed or cancelled items can be retried; {item['id']} is finished" in done("retry", item["id"]).err


def test_logs_follow_a_run_to_its_end(project: Project, cli: Cli) -> None:
    project.write(
        "program.py",
        "import os, time\nprint('first', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('last')",
    )
    [item] = json.loads(cli("add", "--json", "--", "python", "program.py").out)["ids"]
    assert f"item {item} has no log, it is pending" in cli("logs", item).err
    follower = project.start("logs", "-f", item)
    agent = project.start("agent", "--drain")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "first\n"
    project.write("go", "")
    assert follower.communicate(timeout=60) == ("last\n", "")
    agent.communicate(timeout=60)


def test_status_tells_how_long_a_run_has_taken_and_that_it_is_being_stopped(project: Project) -> None:
    project.run("add", "--sweep", "s", "--", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    agent = project.start("agent", "--drain")
    [item] = json.loads(project.run("status", "s", "--json").out)
    until(lambda: project.run("logs", item["id"]).out == "ready\n", "its trap")
    [line] = [line for line in project.run("status", "s").out.splitlines() if " running " in line]
    assert re.search(r"running +1 +\d\S* m?s so far", line), line
    project.run("cancel", "s")
    assert " running (stopping) " in project.run("status", "s").out
    agent.communicate(timeout=60)
    assert project.run("status", "s").out.splitlines()[-1] == "1 cancelled"


def test_status_tells_which_agents_are_silent(project: Project) -> None:
    store = open_store(project.store_url)
    now = time.time()
    known = AgentInfo("old", "elsewhere", 1, 0.0, (), 2, now - 9000, now - 7200)
    store.register(known)
    told = project.run("status").out.splitlines()
    assert re.search(r"old +2 +all +2 h( 0 m)? \(silent\)", told[-2]), told
    assert told[-1] == (
        "no agent is running; what these held goes on, or waits again, with the next one; start one: launcher agent"
    )
    store.register(replace(known, id="new", seen_at=now))
    assert "no agent is running" not in project.run("status").out
    store.close()


def test_an_idle_agent_hears_of_a_new_item(project: Project) -> None:
    agent = project.start("agent")
    until(lambda: "no agent is running" not in project.run("status").out, "the agent's registration")
    project.run("add", "--sweep", "s", "--", "true")
    assert project.run("wait", "s").code == 0
    agent.terminate()
    assert agent.wait(60) == 0
    agent.communicate()


def test_queues_can_be_made_and_shown(cli: Cli) -> None:
    assert cli("queue", "create", "gpu", "--resource", "slurm").out == "queue gpu created (slurm)\n"
    assert [queue["name"] for queue in json.loads(cli("queue", "list", "--json").out)] == ["default", "gpu"]
    assert "resource: slurm" in cli("queue", "show", "gpu").out
    assert "slurm" in cli("queue", "list").out


def test_items_that_their_runner_cannot_start_fail_with_a_reason(cli: Cli) -> None:
    cli("add", "--sweep", "s", "+launch.resource=kubernetes", "--", "true")
    cli("agent", "--drain")
    [item] = json.loads(cli("status", "s", "--json").out)
    assert (item["state"], item["stage"]) == ("failed", "prepare")
    assert item["reason"].startswith("its code lies on the agent's disk, which pods do not see; build an image of it")


def test_a_pipe_that_closes_early_is_no_error(project: Project) -> None:
    with project.start("plan", "-m", "seed=range(3000)", "--", "true") as planner:
        assert planner.stdout is not None
        assert planner.stdout.readline().startswith("sweep")
        planner.stdout.close()
        assert planner.stderr is not None
        assert planner.stderr.read() == ""


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out.startswith("launcher 0.")
    assert "launcher plan -m" in cli("--help").out
