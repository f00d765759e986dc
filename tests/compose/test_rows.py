"""Rows of overrides that a sweeper chose: composed as the points of a grid are, and every wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.compose import Grid, Repository
from launcher.compose.rows import compose_rows
from launcher.errors import SpecError
from tests.compose.test_repository import TREE, written


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(written(tmp_path / "conf", TREE))


def test_rows_of_a_product_are_the_points_of_its_grid(repository: Repository) -> None:
    points = list(Grid.of(repository, "config", ["model=svm,mlp", "seed=1,2.5,a,null", "+new=1,2"], multirun=True))
    assert list(compose_rows(repository, "config", (), [point.overrides for point in points])) == points


def test_rows_that_differ_in_their_keys_are_composed_too(repository: Repository) -> None:
    rows = [["seed=1"], ["model=mlp"], [], ["seed=1", "nested.x.y=2"]]
    configs = [point.config for point in compose_rows(repository, "config", (), rows)]
    assert [config["seed"] for config in configs] == [1, 0, 0, 1]
    assert [config["model"]["name"] for config in configs] == ["svm", "mlp", "svm", "svm"]
    assert configs[3]["nested"]["x"]["y"] == 2


def test_overrides_for_all_go_before_each(repository: Repository) -> None:
    [point] = compose_rows(repository, "config", ["hydra.searchpath=[]", "model=mlp"], [["seed=4"]])
    assert (point.overrides, point.config["model"]["name"]) == (("seed=4",), "mlp")


def test_all_wrong_rows_are_told_after_the_last(repository: Repository) -> None:
    points = compose_rows(repository, "config", (), [["model=a"], ["model=svm"], ["model=b"], ["model=a"]])
    assert next(points).overrides == ("model=svm",)
    with pytest.raises(SpecError) as error:
        next(points)
    assert str(error.value).startswith("4 points, nothing queued: 2 problems")
    assert "'a'" in str(error.value)
    assert "2 of 4 points, first: point 1 (model=a)" in str(error.value)
