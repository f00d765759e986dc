"""What is planned, and what is added: points, their explanation, sweeps that are there already, sweep files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Project, Result

Cli = Callable[..., Result]


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
