"""`python train.py -m hydra/launcher=launch_queue`: what is queued, what its runs do, and what comes back."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from launcher.item import Item, RunState
from launcher.queues import open_store
from tests.conftest import REPOSITORY, until
from tests.hydra_app.conftest import PROGRAM, App
from tests.sources.repositories import git

CALLBACK = """
from hydra.experimental.callback import Callback

class Told(Callback):
    def on_job_start(self, config, *, task_function, **_):
        print("callback: start of", config.hydra.job.num, task_function.__name__)

    def on_job_end(self, config, job_return, **_):
        print("callback: end of", config.hydra.job.num, job_return.status.name)
"""


def logs(app: App, item: Item) -> str:
    return app.run("logs", item.id, program=("-m", "launcher")).out


def outputs(folder: Path) -> dict[str, str]:
    """The files below a sweep's folder, without what differs between two multiruns of any launcher."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_text().replace(folder.name, "SWEEP").replace(str(folder.parent), "APP")
            text = re.sub(r"\[20\S+ \S+\]", "[NOW]", text)
            text = re.sub(r"\n    id: \S+\n", "\n    id: ID\n", text)
            text = re.sub(r"\n  launcher:\n(    .*\n)+", "\n", text)
            text = re.sub(r"    dir: SWEEP|    dir: APP/SWEEP", "    dir: SWEEP", text)
            text = re.sub(r"hydra/launcher: \w+|    - hydra/launcher=\w+\n", "", text)
            found[path.relative_to(folder).as_posix()] = text
    return found


# -- adding ----------------------------------------------------------------------------------------------------------


def test_later_edits_that_reach_the_jobs_are_told(app: App) -> None:
    assert f"code: {app.folder}, in place: later edits reach the runs\n" in app.queue("lr=1").out


def test_the_jobs_are_queued_and_the_program_ends_well(app: App) -> None:
    done = app.queue("model=svm,mlp", "lr=1,2")
    assert done.code == 0, done
    [name] = {item.sweep for item in app.items()}
    assert name
    assert name.startswith("train-")
    for told in (f"sweep {name}: 4 of 4 jobs queued", f"launcher status {name}", f"launcher cancel {name}"):
        assert told in done.out
    assert [item.point for item in app.items()][:2] == [("model=svm", "lr=1"), ("model=svm", "lr=2")]


def test_launch_adds_arguments_are_fields_of_the_config(app: App) -> None:
    app.run("queue", "create", "gpu", "--resource", "local-process", program=("-m", "launcher"))
    words = ("queue_name=gpu", "priority=high", "sweep=first", "name=n", "project=p", "retry.max_attempts=3")
    done = app.queue(
        "lr=1", *(f"hydra.launcher.{word}" if "." not in word else f"+hydra.launcher.{word}" for word in words)
    )
    assert done.code == 0, done
    [item] = app.items()
    assert (item.queue, item.priority, item.sweep, item.name, item.max_attempts) == ("gpu", 1, "first", "n", 3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hydra.launcher.queue_name=nope"], "no queue named 'nope'"),
        (["hydra.launcher.priority=urgent"], "priority 'urgent' is unknown"),
        (["hydra.launcher.goal=most"], "hydra.launcher.goal is 'most', expected one of maximize, minimize"),
        (["model=svm,tree"], "1 of 2 points, first: point 2 (lr=1 model=tree)"),
        (["hydra/sweeper=optuna"], "needs return values; add hydra.launcher.wait=true"),
        (["+new=1", "lrr=1,2"], "no key 'lrr' in config 'config'"),
    ],
)
def test_what_is_wrong_is_told_in_words_and_nothing_is_queued(app: App, words: list[str], told: str) -> None:
    done = app.queue("lr=1", *words)
    assert done.code == 1
    assert told in done.err
    assert "Traceback" not in done.err
    assert app.items() == []


def test_all_wrong_points_are_told_at_once(app: App) -> None:
    done = app.queue("model=svm,tree,bush", "seed=1,2")
    assert "6 points, nothing queued: 2 problems" in done.err
    assert "'bush'" in done.err
    assert "'tree'" in done.err


def test_the_same_command_again_queues_what_is_missing(app: App) -> None:
    assert "2 of 2 jobs queued" in app.queue("lr=1,broken").out
    app.drain()
    again = app.queue("lr=1,broken").out
    assert "0 of 2 jobs queued; 2 are there already, of which 1 had failed and wait again" in again
    assert "2 of 2 jobs queued" in app.queue("lr=1,broken", "hydra.launcher.again=true").out
    assert len(app.items()) == 4


def test_overrides_of_hydra_that_change_what_runs_make_another_run_those_about_launching_do_not(app: App) -> None:
    named = "hydra.launcher.sweep=s"
    assert "1 of 1" in app.queue("lr=1", named).out
    assert "0 of 1" in app.queue("lr=1", named, "hydra.sweep.dir=elsewhere", "hydra.launcher.priority=low").out
    assert "1 of 1" in app.queue("lr=1", named, "hydra.job.chdir=true").out


# -- running ---------------------------------------------------------------------------------------------------------


def test_a_job_leaves_what_hydras_own_launcher_leaves(app: App) -> None:
    app.write("told.py", CALLBACK)
    words = [
        "model=svm,mlp", "hydra.job.chdir=true", "+hydra.job.env_set.COLOUR=red", "hydra.job.env_copy=[HOME]",
        "+hydra.callbacks.told._target_=told.Told", "hydra.sweep.subdir=${hydra.job.num}_${hydra.job.override_dirname}",
    ]  # fmt: skip
    basic = app.run("-m", *words, "hydra.sweep.dir=the_basic_one")
    assert basic.code == 0, basic
    assert app.queue(*words, "hydra.sweep.dir=the_queued_one").code == 0
    app.drain()
    ours, theirs = outputs(app.folder / "the_queued_one"), outputs(app.folder / "the_basic_one")
    assert sorted(ours) == sorted(theirs)
    for name in theirs:
        assert ours[name] == theirs[name], name
    first = logs(app, app.items()[0])
    assert "callback: start of 0 main" in first
    assert "callback: end of 0 COMPLETED" in first
    assert f"cwd {app.folder}/the_queued_one/0_model=svm version 1 colour red" in first


def test_all_jobs_of_a_multirun_share_its_time(app: App) -> None:
    app.queue("lr=1,2", "twice='${now:%H%M%S%f}'", "hydra.sweep.dir='out/${now:%H%M%S%f}'")
    app.drain()
    [folder] = (app.folder / "out").iterdir()
    assert [item.result for item in app.items()] == [{"return_value": folder.name}] * 2


def test_the_return_value_is_the_runs_result(app: App) -> None:
    app.queue("lr=3")
    app.drain()
    [item] = app.items()
    assert (item.state, item.result) == (RunState.FINISHED, {"return_value": 6})


def record(folder: Path) -> None:
    """Make a repository of a folder."""
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")


def test_the_code_and_configs_of_a_run_are_those_of_when_it_was_added(app: App) -> None:
    record(app.folder)
    app.queue("lr=3")
    text = (app.folder / "train.py").read_text()
    app.write("train.py", text.replace('"version", 1', '"version", 2'))
    app.write("conf/config.yaml", "twice: changed\nlr: 0\n")
    app.drain()
    [item] = app.items()
    assert item.result == {"return_value": 6}
    assert f"cwd {app.folder} version 1" in logs(app, item)


@pytest.mark.parametrize("outer", [False, True])
def test_an_app_that_is_started_from_above_its_repository_is_pinned_there(app: App, *, outer: bool) -> None:
    record(app.folder)
    if outer:
        (app.folder.parent / "app.txt").write_text("another repository's")
        git(app.folder.parent, "init", "--quiet")
        git(app.folder.parent, "add", "app.txt")
        git(app.folder.parent, "commit", "--quiet", "--message", "outer")
    above = App(app.folder.parent, app.url)
    done = above.queue("lr=3", program=("app/train.py",))
    assert f"code: {app.folder} at {git(app.folder, 'rev-parse', 'HEAD')[:12]}\n" in done.out
    app.write("train.py", PROGRAM.replace('"version", 1', '"version", 2'))
    above.drain()
    [item] = app.items()
    assert item.result == {"return_value": 6}
    assert f"cwd {above.folder} version 1" in logs(app, item)


@pytest.mark.parametrize("program", ["train.py", "go.py"])
def test_so_are_configs_that_a_relative_search_path_leads_to(app: App, program: str) -> None:
    app.write("go.py", "import other\nother.go()\n")  # a task that is pickled
    app.write("other.py", "import train\ndef go():\n    train.main()\n")
    app.write("conf/__init__.py", "")
    app.write("extra/rate/fast.yaml", "# @package _global_\nlr: 3\n")
    app.write("conf/config.yaml", (app.folder / "conf/config.yaml").read_text() + CALLBACKS)
    app.write("told.py", TOLD)
    record(app.folder)
    done = app.queue("hydra.searchpath=[file://extra]", "+rate=fast", program=(program,))
    assert done.code == 0, done
    app.write("extra/rate/fast.yaml", "# @package _global_\nlr: 4\n")
    app.drain()
    [item] = app.items()
    assert item.result == {"return_value": 6}
    assert f"cwd {app.folder} version 1" in logs(app, item)
    assert f"started in {app.folder}, {app.folder}" in logs(app, item)


CALLBACKS = "hydra: {callbacks: {told: {_target_: told.Told, cwd: '${hydra.runtime.cwd}'}}}\n"
TOLD = """
from hydra.experimental.callback import Callback

class Told(Callback):
    def __init__(self, cwd):
        self.cwd = cwd

    def on_job_start(self, config, **kwargs):
        print(f"started in {self.cwd}, {config.hydra.runtime.cwd}")
"""


def test_a_module_is_run_as_one_and_options_of_the_app_are_kept(app: App) -> None:
    app.write("pkg/__init__.py", "")
    app.write("pkg/train.py", PROGRAM_OF_PACKAGE)
    app.write("more/other.yaml", "number: 5\n")
    done = app.queue("number=5,6", "--config-dir=more", "--config-name=other", program=("-m", "pkg.train"))
    assert done.code == 0, done
    app.drain()
    assert [item.result for item in app.items()] == [{"return_value": 5}, {"return_value": 6}]


PROGRAM_OF_PACKAGE = """
import hydra
from . import __name__ as package

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    assert package == "pkg"
    return cfg.number

if __name__ == "__main__":
    main()
"""


def test_a_folder_of_the_app_that_is_called_launcher_is_not_taken_for_us(app: App) -> None:
    app.write("launcher/__init__.py", "mine = True\n")
    app.write("src/train.py", PROGRAM.replace('"conf"', '"../conf"'))
    app.queue("lr=1", program=("src/train.py",))
    app.drain()
    assert [item.result for item in app.items()] == [{"return_value": 2}]


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_a_failed_run_is_an_error_of_its_job_alone(app: App, agent: subprocess.Popen[bytes]) -> None:
    done = app.queue("hydra.launcher.wait=true", "lr=1,broken,2")
    assert done.code == 1
    assert "ValueError: lr is broken" in done.err
    assert [item.state.value for item in app.items()] == ["finished", "failed", "finished"]


def test_a_run_without_a_return_tells_how_it_ended(app: App, agent: subprocess.Popen[bytes]) -> None:
    done = app.queue("hydra.launcher.wait=true", "lr=killed")
    assert done.code == 1
    [item] = app.items()
    assert f"run {item.id} failed (run: killed by SIGKILL" in done.err


def test_an_interrupt_while_waiting_leaves_the_runs_and_says_so(app: App) -> None:
    process = app.start("-m", "hydra/launcher=launch_queue", "hydra.launcher.wait=true", "lr=1,2")
    until(lambda: len(app.items()) == 2, "both are queued")
    assert process.stdout
    until(lambda: "no agent is there yet" in process.stdout.readline(), "it waits")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "2 runs of sweep train-" in out
    assert "stay queued" in out
    assert "Traceback" not in err
    assert {item.state for item in app.items()} == {RunState.PENDING}


def test_jobs_that_are_held_for_failures_are_told_and_not_waited_for(app: App, agent: subprocess.Popen[bytes]) -> None:
    done = app.queue("hydra.launcher.wait=true", "hydra.launcher.stop_after_failures=1", "lr=broken", "seed=range(12)")
    assert done.code == 1
    assert "ValueError: lr is broken" in done.err


# -- the plugin ------------------------------------------------------------------------------------------------------


def test_the_plugin_that_is_not_used_imports_nothing_of_launcher(tmp_path: Path) -> None:
    program = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance(); "
        "print(*sorted(name for name in sys.modules if 'launch' in name.partition('.')[0] or 'launch_queue' in name))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "hydra_plugins.launch_queue", "hydra_plugins.launch_queue.launcher", "hydra_plugins.launch_queue.sweeper",
    ]  # fmt: skip


def test_a_wheel_has_the_plugin_where_hydra_looks_for_it(tmp_path: Path) -> None:
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=REPOSITORY, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "hydra_plugins/launch_queue/launcher.py" in names
    assert "hydra_plugins/__init__.py" not in names
    assert "launcher/hydra_app/job.py" in names
    assert not any("_hydra/" in name for name in names)
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {"hydra_plugins", "launcher"}


def test_the_job_program_says_what_it_is_for_outside_of_a_run(app: App) -> None:
    done = app.run("train.py", program=("-m", "launcher.hydra_app.job"))
    assert done.code == 1
    assert "inside of a queued run only" in done.err


def test_the_store_of_the_config_wins(app: App, tmp_path: Path) -> None:
    app.queue("lr=1", f"hydra.launcher.store=sqlite:///{tmp_path}/other.db")
    assert app.items() == []
    assert open_store(f"sqlite:///{tmp_path}/other.db").counts()[0].number == 1
