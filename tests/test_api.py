"""`launch_add` as a program calls it: the run it returns can be followed to its end, whatever that end is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from launcher import LaunchError, QueuedRun, RunState, launch_add
from launcher.item import ItemFilter
from launcher.queues import open_store
from tests.conftest import Project, until

PRINTS = [sys.executable, "-c", "print('hello')"]
FAILS = [sys.executable, "-c", "raise SystemExit(3)"]


@pytest.fixture(autouse=True)
def _here(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)


@contextmanager
def draining(project: Project) -> Iterator[None]:
    """An agent that runs what is queued, and ends with it."""
    process = project.start("agent", "--drain")
    yield
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err


def test_a_run_is_followed_to_its_end(project: Project) -> None:
    run = launch_add(uri=".", entry_point=PRINTS, project="demo", entity="me", name="first", priority=1)
    assert (run.project, run.entity, run.queue_name, run.project_queue) == ("demo", "me", "default", "model-registry")
    assert (run.priority, run.sweep, run.run_id, run.state) == (1, None, run.id, RunState.PENDING)
    assert (run.logs(), run.result) == ("", None)
    with draining(project):
        assert run.wait_until_started(timeout=60) is run
        assert run.wait_until_finished(timeout=60).state is RunState.FINISHED
    assert run.logs() == "hello\n"


def test_what_a_run_reports_is_its_result(project: Project) -> None:
    program = "import launcher; launcher.report(accuracy=0.5)"
    run = launch_add(uri=".", entry_point=[sys.executable, "-c", program])
    with draining(project):
        assert run.wait_until_finished(timeout=60).result == {"accuracy": 0.5}


@pytest.mark.parametrize("wait", ["wait_until_started", "wait_until_running", "wait_until_finished"])
def test_every_wait_ends_when_the_run_fails(project: Project, wait: str) -> None:
    run = launch_add(uri=".", entry_point=FAILS)
    with draining(project):
        until(lambda: run.state is RunState.FAILED, "the run's failure")
    assert getattr(run, wait)().state is RunState.FAILED


def test_a_wait_ends_when_the_run_is_cancelled() -> None:
    run = launch_add(uri=".", entry_point=PRINTS)
    waiting = threading.Thread(target=run.wait_until_finished, kwargs={"timeout": 60})
    waiting.start()
    run.cancel()
    waiting.join()
    assert run.state is RunState.CANCELLED


def test_a_wait_gives_up_after_its_timeout_and_says_what_to_do() -> None:
    run = launch_add(uri=".", entry_point=PRINTS)
    with pytest.raises(LaunchError, match=rf"run {run.id} did not start within 0 s: it is pending.*launcher agent"):
        run.wait_until_started(timeout=0)


def test_a_run_of_another_store_is_told_as_gone(project: Project) -> None:
    run = launch_add(uri=".", entry_point=PRINTS)
    gone = QueuedRun("nowhere0", run.queue_name, "", "", run.project_queue, 2, None, run.store)
    with pytest.raises(LaunchError, match="run nowhere0 is not in sqlite:///"):
        gone.wait_until_finished()


def test_a_run_id_is_the_runs_id_and_is_taken_once() -> None:
    assert launch_add(uri=".", entry_point=PRINTS, run_id="mine0001").id == "mine0001"
    with pytest.raises(LaunchError, match="mine0001"):
        launch_add(uri=".", entry_point=PRINTS, run_id="mine0001")


def test_adding_twice_adds_two() -> None:
    first, second = (launch_add(uri=".", entry_point=PRINTS, sweep_id="probe") for _ in range(2))
    assert first.id != second.id
    assert {first.sweep, second.sweep} == {"probe"}


def test_the_callers_config_is_left_as_it_is() -> None:
    config = {"overrides": {"run_config": {"lr": 0.1}}, "extra": [1]}
    launch_add(uri=".", entry_point=PRINTS, config=config, project="demo")
    assert config == {"overrides": {"run_config": {"lr": 0.1}}, "extra": [1]}


def test_what_is_wrong_is_told_and_nothing_is_queued(project: Project) -> None:
    with pytest.raises(LaunchError, match="no queue named 'nope'"):
        launch_add(uri=".", entry_point=PRINTS, queue_name="nope")
    with pytest.raises(LaunchError, match="entry_point"):
        launch_add(uri=".", entry_point="python train.py")  # type: ignore[arg-type]  # what is tested
    with closing(open_store(project.store_url)) as store:
        assert list(store.items(ItemFilter())) == []
        launch_add(uri=".", entry_point=PRINTS)
        assert len(list(store.items(ItemFilter()))) == 1, "this is where they would have been"
