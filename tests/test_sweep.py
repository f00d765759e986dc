"""`launch_sweep`: many specs in one transaction, all or nothing, and one report of all that is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from launcher import LaunchError, compose_grid, launch_sweep
from launcher.item import ItemFilter, QueueInfo
from launcher.queues import open_store
from tests.conftest import Project

COMMAND = ["python", "train.py"]


@pytest.fixture(autouse=True)
def _here(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    with closing(open_store(project.store_url)) as store:
        store.create_queue(QueueInfo("gpu", "slurm"))


def queued(project: Project) -> list[dict[str, Any]]:
    with closing(open_store(project.store_url)) as store:
        return [store.document(item.id) for item in store.items(ItemFilter())]


def test_specs_and_shared_arguments_become_one_sweep(project: Project) -> None:
    rates = ({"entry_point": [*COMMAND, f"lr={rate}"], "name": f"lr-{rate}"} for rate in (0.1, 0.01))
    receipt = launch_sweep("rates", rates, uri=".", project="demo", metric="loss", goal="minimize")
    assert (receipt.sweep, receipt.added) == ("rates", 2)
    documents = queued(project)
    assert [document["name"] for document in documents] == ["lr-0.1", "lr-0.01"]
    assert {(document["project"], document["sweep_id"]) for document in documents} == {("demo", "rates")}
    [sweep] = json.loads(project.run("status", "--json").out)["sweeps"]
    assert sweep["name"] == "rates"


@pytest.mark.parametrize(
    ("made", "column"),
    [
        (lambda rate: {"entry_point": ["true", f"--lr={rate}", "seed=1"]}, "lr"),
        (lambda rate: {"entry_point": ["true"], "config": {"overrides": {"run_config": {"a": {"lr": rate}}}}}, "a.lr"),
        (lambda rate: {"entry_point": ["echo", str(rate)]}, "command"),
    ],
)
def test_specs_without_points_are_told_apart(project: Project, made: Any, column: str) -> None:
    launch_sweep("rates", [made(rate) for rate in (0.1, 0.01)], uri=".")
    assert launch_sweep("rates", [made(rate) for rate in (0.1, 0.01)], uri=".").present == 2
    rows = json.loads(project.run("results", "rates", "--json").out)
    assert [str(row[column]).rpartition(" ")[2] for row in rows] == ["0.1", "0.01"]
    assert f"{column}=" in project.run("status", "rates").out


def test_points_of_a_grid_become_a_sweep(project: Project) -> None:
    points = compose_grid(config_dir="conf", config_name="config", overrides=["model=svm,mlp", "seed=range(2)"])
    assert launch_sweep("grid", points, uri=".", entry_point=COMMAND).added == 4
    assert [document["overrides"]["args"] for document in queued(project)][-1] == ["model=mlp", "seed=1"]


def test_what_a_sweep_has_is_not_added_again_unless_asked_for() -> None:
    specs = [{"entry_point": [*COMMAND, str(number)]} for number in range(3)]
    assert launch_sweep("s", specs, uri=".").added == 3
    again = launch_sweep("s", [*specs, {"entry_point": ["true"]}], uri=".")
    assert (again.added, again.present) == (1, 3)
    assert launch_sweep("s", specs, uri=".", again=True).added == 3


def test_a_specs_own_source_wins_over_the_shared_one(project: Project) -> None:
    launch_sweep("s", [{"docker_image": "a"}, {}], uri=".", queue_name="gpu")
    first, second = queued(project)
    assert (first["docker"], "uri" in first) == ({"docker_image": "a"}, False)
    assert (second["docker"], second["uri"]) == ({}, str(project.folder))


def specs_with_bad_ones() -> Iterator[dict[str, Any]]:
    for number in range(2400):
        runs: Any = "four" if number % 7 == 0 and number < 2240 else 4
        yield {"name": f"n{number}", "resource_args": {"slurm": {"pack": runs}}}


REPORT = (
    "2,400 specs, nothing queued: 1 problem\n"
    "  resource_args.slurm.pack: expected an integer: 320 of 2,400 specs, first: spec 1: 'four' is a string, expected "
    "an integer"
)


def test_320_bad_specs_of_2400_are_one_report_and_nothing_is_queued(project: Project) -> None:
    with pytest.raises(LaunchError) as error:
        launch_sweep("s", specs_with_bad_ones(), uri=".", entry_point=COMMAND, queue_name="gpu")
    assert str(error.value) == REPORT
    assert queued(project) == []
    assert json.loads(project.run("status", "--json").out)["sweeps"] == []


def test_the_command_line_tells_the_same_and_exits_with_1(project: Project) -> None:
    project.write("conf/pack/bad.yaml", "launch:\n  resource_args: {slurm: {pack: four}}\n")
    project.write("conf/pack/good.yaml", "launch:\n  resource_args: {slurm: {pack: 4}}\n")
    grid = ["-m", "+pack@_global_=bad,good,good", "seed=range(800)", "-q", "gpu", "--sweep", "s", "--", "true"]
    result = project.run("add", *grid)
    assert result.code == 1
    assert result.out == ""
    assert result.err == (
        "launcher: 2,400 points, nothing queued: 1 problem\n"
        "  resource_args.slurm.pack: expected an integer: 800 of 2,400 points, first: point 1 (+pack@_global_=bad "
        "seed=0): 'four' is a string, expected an integer\n"
    )
    assert queued(project) == []


def test_an_iterable_that_fails_leaves_the_store_unchanged(project: Project) -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield {}
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        launch_sweep("s", failing(), uri=".", entry_point=COMMAND)
    assert queued(project) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("", []), "sweep name '' is none; expected a text"),
        (("-s", []), "sweep name '-s' is none; expected a text on one line that is not all blank, and does not begin"),
        (("s", [3]), "3 is neither a point nor launch_add's arguments by name"),
        (("s", [{"nam": "x"}]), "the spec.nam is not an argument; did you mean 'name'?"),
    ],
)
def test_what_is_no_sweep_is_told(project: Project, arguments: tuple[Any, Any], told: str) -> None:
    with pytest.raises(LaunchError) as error:
        launch_sweep(*arguments, uri=".", entry_point=COMMAND)
    assert told in str(error.value)
    assert queued(project) == []


def test_shared_arguments_and_the_goal_are_checked() -> None:
    with pytest.raises(LaunchError, match=r"launch_sweep\.queue is not an argument; did you mean 'queue_name'\?"):
        launch_sweep("s", [], queue="x")
    with pytest.raises(LaunchError, match="goal 'best' is unknown; expected one of maximize, minimize"):
        launch_sweep("s", [], goal="best")
