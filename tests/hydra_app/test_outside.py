"""`launcher add --app train.py`: the same from outside, for an app whose main function is never run here."""

from __future__ import annotations

import pytest

from tests.conftest import Result
from tests.hydra_app.conftest import App
from tests.hydra_app.test_launching import PROGRAM_OF_PACKAGE


def launcher(app: App, *words: str) -> Result:
    return app.run("-m", "launcher", *words, program=("-P",))


def test_its_runs_are_those_of_the_plugin(app: App) -> None:
    words = ["model=svm,mlp", "lr=1,2", "hydra.job.chdir=true", "hydra.sweep.dir=out"]
    assert launcher(app, "add", "-m", "--app", "train.py", "--sweep", "s", *words).code == 0
    assert "0 of 4 jobs queued; 4 are there already" in app.queue("hydra.launcher.sweep=s", *words).out
    app.drain()
    assert [item.result for item in app.items()] == [{"return_value": value} for value in (2, 4, 2, 4)]
    assert (app.folder / "out/3/.hydra/overrides.yaml").read_text() == "- model=mlp\n- lr=2\n"


def test_plan_shows_them_and_the_app_is_not_run(app: App) -> None:
    done = launcher(app, "plan", "-m", "--app", "train.py", "lr=1,broken")
    assert done.code == 0, done
    assert "-P -m launcher.hydra_app.job train.py lr=broken" in done.out
    assert "cwd" not in done.out
    assert not (app.folder / "multirun").exists()


def test_a_module_and_its_options(app: App) -> None:
    app.write("pkg/__init__.py", "")
    app.write("pkg/train.py", PROGRAM_OF_PACKAGE)
    app.write("more/other.yaml", "number: 5\n")
    named = "-m pkg.train --config-dir=more --config-name=other"
    assert launcher(app, "add", "-m", "--app", named, "number=5,6").code == 0
    app.drain()
    assert [item.result for item in app.items()] == [{"return_value": 5}, {"return_value": 6}]


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [
        (["--app", "nope.py"], "app 'nope.py' is no file; expected a Hydra app's script", 2),
        (["--app", ""], "no app is named; expected its script", 2),
        (["--app", "plain.py"], "app 'plain.py' calls no function that hydra.main made", 2),
        (["--app", "ill.py"], "app 'ill.py' failed before its hydra.main function was called: OSError: no GPU", 1),
        (["--app", "train.py", "-cn", "x"], "--app 'train.py --config-name NAME'", 2),
        (["--app", "train.py", "--", "python", "train.py"], "and a command after -- contradict each other", 2),
        (
            ["--app", "train.py --config-name config lr=0.7 +a=1"],
            "give overrides after --app, not in it: lr=0.7 ",
            2,
        ),
        (["--app", "train.py", "nope=1"], "Could not override 'nope'", 2),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_queued(app: App, words: list[str], told: str, code: int) -> None:
    app.write("plain.py", "print('nothing of Hydra')\n")
    app.write("ill.py", "raise OSError('no GPU')\n")
    done = launcher(app, "add", *words)
    assert told in done.err
    assert done.code == code
    assert "Traceback" not in done.err
    assert app.items() == []
