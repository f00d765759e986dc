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


def test_a_mistyped_key_is_one_problem_and_found_at_once(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = []
    compose = Repository.compose_and_choose
    monkeypatch.setattr(Repository, "compose_and_choose", lambda *given: (composed.append(given), compose(*given))[1])
    rows = [["model=svm", f"sead={seed}", f"nested.x.y={y}"] for seed in range(20) for y in range(20)]
    with pytest.raises(SpecError) as error:
        list(compose_rows(repository, "config", [], rows))
    told = str(error.value)
    assert told.startswith("400 points, nothing queued: 1 problem\n")
    assert "no key 'sead'" in told
    assert "did you mean 'seed'" in told
    assert ": 400 of 400 points, first: point 1 (model=svm sead=0 nested.x.y=0)" in told
    assert len(composed) < 10


def test_a_cause_that_other_points_do_not_have_is_counted_for_its_own(repository: Repository) -> None:
    rows = [[f"model={model}", f"seed={seed}"] for model in ("svm", "tree", "mlp", "bush") for seed in range(5)]
    with pytest.raises(SpecError) as error:
        list(compose_rows(repository, "config", [], rows))
    told = str(error.value)
    assert told.startswith("20 points, nothing queued: 2 problems\n")
    assert "5 of 20 points, first: point 6 (model=tree seed=0)" in told
    assert "5 of 20 points, first: point 16 (model=bush seed=0)" in told
