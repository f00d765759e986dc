"""`hydra/sweeper=launch_grid`: the fields of a sweep file in an app's config."""

from __future__ import annotations

import pytest

from tests.hydra_app.conftest import App

GRID = ("hydra/sweeper=launch_grid",)


def points(app: App) -> list[str]:
    return [" ".join(item.point) for item in app.items()]


def test_zips_rules_and_repeats_come_from_the_config(app: App) -> None:
    app.write(
        "conf/hydra/sweeper/mine.yaml",
        "defaults: [launch_grid]\nzip: {lr: [1, 2], model: [svm, mlp]}\nrepeat: {key: seed, values: 2}\n"
        "exclude: model.name == 'mlp' and seed == 1\n",
    )
    done = app.queue("hydra/sweeper=mine")
    assert done.code == 0, done
    assert points(app) == ["lr=1 model=svm seed=0", "lr=1 model=svm seed=1", "lr=2 model=mlp seed=0"]
    app.drain()
    assert [item.result for item in app.items()] == [{"return_value": value} for value in (2, 2, 4)]


def test_the_command_line_adds_axes_and_samples(app: App) -> None:
    done = app.queue(*GRID, "lr=range(100)", "model=svm,mlp", "+hydra.sweeper.sample.n=5")
    assert done.code == 0, done
    assert "5 of 5 jobs queued" in done.out
    assert len(set(points(app))) == 5


def test_other_launchers_get_its_jobs_too(app: App) -> None:
    done = app.run("-m", *GRID, "lr=1,2,3", "hydra.sweeper.exclude='lr == 2'", "hydra.sweep.dir=out")
    assert done.code == 0, done
    assert sorted(path.name for path in (app.folder / "out").iterdir()) == ["0", "1", "multirun.yaml"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hydra.sweeper.exclude='lr ='"], "hydra.sweeper: exclude"),
        (["hydra.sweeper.order=upwards"], "hydra.sweeper: order is 'upwards', expected one of grid, shuffle"),
        (["hydra.sweeper.require='lr > 9'"], "no point is left of 2"),
        (["model=svm,tree"], "no option 'tree' in config group 'model'"),
    ],
)
def test_what_is_wrong_is_told_in_words(app: App, words: list[str], told: str) -> None:
    done = app.queue(*GRID, "lr=1,2", *words)
    assert done.code == 1
    assert told in done.err
    assert "Traceback" not in done.err
    assert app.items() == []
