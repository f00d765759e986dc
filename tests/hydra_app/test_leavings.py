"""What the runs of an app leave beside its code makes no other code of it; and where code differs, it is told which."""

from __future__ import annotations

import pytest

from tests.conftest import Result
from tests.hydra_app.conftest import App
from tests.sources.repositories import commit, git

NAMED = "hydra.launcher.sweep=first"


@pytest.fixture
def pinned(app: App) -> App:
    """The app, in git, without a .gitignore."""
    git(app.folder, "init", "--quiet", "--initial-branch=main")
    commit(app.folder, "app", "README.md")
    return app


def launcher(app: App, *words: str) -> Result:
    return app.run("-m", "launcher", *words, program=())


def test_the_same_command_again_queues_only_what_is_missing(pinned: App) -> None:
    assert "2 of 2 jobs queued" in pinned.queue(NAMED, "lr=1,2").out
    pinned.drain()
    with next((pinned.folder / "multirun").glob("*/*/0")).joinpath("model.ckpt").open("wb") as file:
        file.truncate(30_000_000)
    again = pinned.queue(NAMED, "lr=1,2,3")
    assert "1 of 3 jobs queued; 2 are there already" in again.out, again
    assert pinned.run("lr=5").code == 0, "a run by hand, whose outputs lie in outputs/"
    assert "0 of 3 jobs queued" in pinned.queue(NAMED, "lr=1,2,3").out
    adding = ("add", "-m", "--app", "train.py", "--sweep", "first", "lr=1,2,3")
    assert "0 added; 3 are there already" in launcher(pinned, *adding).out


@pytest.mark.parametrize("place", ["out_of/${now:%H}_x", "out/of", "APP/elsewhere/${now:%H%M%S}"])
def test_outputs_that_go_elsewhere_are_no_code(pinned: App, place: str) -> None:
    words = (NAMED, "lr=1,2", f"hydra.sweep.dir='{place.replace('APP', str(pinned.folder))}'")
    assert "2 of 2 jobs queued" in pinned.queue(*words).out
    pinned.drain()
    assert "0 of 2 jobs queued; 2 are there already" in pinned.queue(*words).out


def test_it_is_told_which_code_differs(pinned: App) -> None:
    pinned.queue(NAMED, "lr=1,2")
    pinned.write("new.py", "")
    pinned.write("train.py", (pinned.folder / "train.py").read_text() + "\n")
    again = pinned.queue(NAMED, "lr=1,2")
    assert "2 of 2 jobs queued" in again.out
    assert (
        "the sweep had these points already, with other code: new.py (untracked), train.py; with "
        "hydra.launcher.fingerprint.ignore=[git] they would count as the same"
    ) in again.out
    assert "had these points" not in pinned.queue(NAMED, "lr=1,2", "hydra.launcher.again=true").out
