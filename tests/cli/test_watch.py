"""`launcher watch`, driven in tmux as a person would; and its frames, which fit any terminal."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from launcher.cli.watch.screen import frame, help_frame, log_frame, rows
from launcher.cli.watch.snapshot import Running, Snapshot
from launcher.item import Item, RunState
from launcher.queues import Progress, open_store
from launcher.terminal import clean
from tests.analysis.making import record
from tests.conftest import Project, Result, needs, until
from tests.queues.filling import add_finished
from tests.terminals import Terminal

Cli = Callable[..., Result]
Watch = Callable[..., Terminal]
PROGRAM = """\
import pathlib, sys, time
point = dict(word.split("=") for word in sys.argv[1:])
seed = point["seed"]
print("begin", seed, flush=True)
for number in range(300):
    print("\\x1b[31mline\\x1b[0m", number, flush=True)
print("seed", seed, "is at work", flush=True)
while not pathlib.Path(sys.argv[0]).with_name(f"end-{seed}").exists():
    time.sleep(0.02)
sys.exit(seed == "1")
"""


@pytest.fixture
def watch(project: Project) -> Iterator[Watch]:
    needs("tmux", shutil.which("tmux") is not None, "tmux is not installed (make services)")
    opened: list[Terminal] = []

    def start(size: tuple[int, int], *arguments: str) -> Terminal:
        opened.append(Terminal(project.folder, size, "launcher", "watch", *arguments))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@contextmanager
def working(project: Project) -> Iterator[None]:
    """An agent that runs two at a time, stopped with its runs at the end."""
    agent = project.start("agent", "-j", "2")
    try:
        yield
    finally:
        for number in range(6):
            project.write(f"end-{number}", "")
        agent.terminate()
        agent.communicate(timeout=60)


def states(cli: Cli) -> dict[str, str]:
    return {item["point"][-1]: item["state"] for item in json.loads(cli("status", "s", "--json").out)}


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_a_sweep_is_followed_and_steered(size: tuple[int, int], watch: Watch, cli: Cli, project: Project) -> None:
    project.write("work.py", PROGRAM)
    assert cli("add", "--sweep", "s", "-m", "seed=range(6)", "--", "python", "work.py").code == 0
    terminal = watch(size, "s")
    screen = terminal.shows("0 of 6, 0 %", "no agent is running", "waiting (6)", "q quit")
    assert len(screen.splitlines()) <= size[1]
    with working(project):
        terminal.shows(
            "1 agent, 2 of 2 places", "running (2)", "seed=0  seed 0 is at work", "seed 1 is at work", "waiting (4)"
        )
        project.write("end-1", "")
        terminal.shows("1 failed", "failed, the newest first (1)", "exit code 1: seed 1 is at work")
        terminal.shows("seed 2 is at work", "each", "left")
        terminal.press("Enter")
        log = terminal.shows("running  seed=0", "line 299", "seed 0 is at work", "Esc back")
        assert "\x1b" not in log
        terminal.press("PPage")
        terminal.shows("lines below)")
        terminal.press("Home")
        terminal.shows("begin 0")
        terminal.press("Escape")
        terminal.shows("running (2)")
        terminal.press("c")
        terminal.shows("cancel ", "? (y/n)")
        terminal.press("n")
        terminal.shows("q quit")
        terminal.press("c", "y")
        until(lambda: states(cli)["seed=0"] == "cancelled", "the cancelled run")
        terminal.shows("1 cancelled", "seed 3 is at work")
        terminal.press("Down", "Down", "r", "y")  # two run, then comes the one that failed
        terminal.shows("0 failed", "waiting (3)")
        assert states(cli)["seed=1"] == "pending"
        terminal.press("End", "+")
        terminal.shows(" is now high")
        terminal.press("?")
        terminal.shows("more or less priority")
        terminal.press("x")
        terminal.resize(60, 20)
        until(lambda: "running (2)" in terminal.text() and len(terminal.lines()) <= 20, "a smaller screen")
        assert all(len(line) <= 60 for line in terminal.lines())
        terminal.press("q")
        terminal.shows("ended with 0")


def test_a_hundred_thousand_items_are_watched(watch: Watch, cli: Cli, project: Project) -> None:
    store = open_store(project.store_url)
    add_finished(store, 100_000)
    store.close()
    assert cli("add", "--sweep", "s", "-m", "seed=range(3)", "--", "true").code == 0
    terminal = watch((80, 24))
    terminal.shows("all sweeps", "100,000 of 100,003, 99 %", "100,000 finished", "3 pending", "waiting (3)")
    terminal.press("c", "y")
    terminal.shows("1 waiting cancelled", "1 cancelled", "waiting (2)")
    terminal.press("q")
    terminal.shows("ended with 0")


def test_without_a_terminal_it_says_what_prints_the_same(cli: Cli) -> None:
    result = cli("watch")
    assert (result.code, result.out) == (2, "")
    assert "launcher watch needs a terminal; launcher status prints" in result.err


# -- frames -------------------------------------------------------------------------------------------------------


def item(number: int, state: RunState, text: str) -> Item:
    return Item(
        f"item{number}", "default", "s", state, number % 4, None, (f"a={text}",), 1, 3, 1.0, 1.0, 5.0, hold="paused"
    )


TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("\x1b\r\x07[31m"), max_size=60)
COUNT = st.sampled_from([0, 1, 3, 40, 10**6])


@st.composite
def snapshots(draw: Any) -> Snapshot:
    numbers = {state: draw(COUNT) for state in RunState}
    text = draw(TEXT)
    running = [
        Running(item(place, RunState.RUNNING, text), "gpu 0 2 cpu", clean(text))
        for place in range(min(numbers[RunState.RUNNING], 60))
    ]
    failed = [record({"a": "b"}, state="failed", reason=text) for _ in range(min(numbers[RunState.FAILED], 60))]
    waiting = [item(place, RunState.PENDING, text) for place in range(min(numbers[RunState.PENDING], 60))]
    seconds = draw(st.none() | st.floats(0, 1e6))
    return Snapshot(9.0, numbers, draw(COUNT), draw(COUNT), 2, Progress(1, seconds, 3), running, failed, waiting)


def drawn(frame_: Any, size: tuple[int, int]) -> list[str]:
    console = Console(width=size[0], height=size[1], force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(frame_, end="")
    return capture.get().split("\n")


SIZES = st.tuples(st.integers(20, 220), st.integers(10, 60))


@given(snapshot=snapshots(), size=SIZES, chosen=st.integers(-1, 20), message=TEXT)
def test_a_frame_fits_its_terminal_and_commands_it_nothing(
    snapshot: Snapshot, size: Any, chosen: int, message: str
) -> None:
    listed = rows(snapshot, size[0], size[1] - 6)
    lines = drawn(frame(message, snapshot, listed, chosen, "", size), size)
    assert len(lines) <= size[1] + 1
    assert not any(unicodedata.category(char) == "Cc" for line in lines for char in line)
    assert sum(row.id == "" for row in listed) == sum(
        bool(number)
        for number in (
            snapshot.states[RunState.RUNNING] + snapshot.states[RunState.LEASED], snapshot.states[RunState.FAILED],
            snapshot.states[RunState.PENDING],
        )
    )  # fmt: skip


@given(lines=st.lists(TEXT, max_size=80), above=st.integers(0, 100), size=SIZES)
def test_a_log_fits_its_terminal(lines: list[str], above: int, size: Any) -> None:
    shown = drawn(log_frame("t", lines, min(above, len(lines)), "", size), size)
    assert len(shown) <= size[1] + 1
    assert not any(unicodedata.category(char) == "Cc" for line in shown for char in line)
    assert len(drawn(help_frame(size), size)) <= size[1] + 1


def test_the_rest_takes_as_long_as_what_has_ended() -> None:
    running = [Running(item(1, RunState.RUNNING, ""), "", "")]
    states_ = {RunState.RUNNING: 1, RunState.PENDING: 3, RunState.FINISHED: 6}
    snapshot = Snapshot(9.0, states_, 0, 1, 1, Progress(6, 10.0, 6), running, [], [])
    assert snapshot.seconds_left == 3 * 10 + (10 - 4)
    assert Snapshot(9.0, {}, 0, 0, 0, Progress(0, None, 0), [], [], []).seconds_left is None
