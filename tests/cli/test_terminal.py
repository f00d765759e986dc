"""What runs print and are called, on a terminal of its own: it gets no commands from them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable

import pytest

from tests.conftest import Project, Result
from tests.terminals import printed

Cli = Callable[..., Result]
EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x07\x9b5A"
PROGRAM = """\
import sys, launcher
evil = "\\x1b]0;owned\\x07\\x1b[2J\\x1b[31mred\\x07\\x9b5A"
launcher.report(**{evil: 1.0, "note": evil})
print(evil)
print("10 %\\r50 %\\r90 %", end="\\r" if "model=svm" in sys.argv else "\\n")
if "model=svm" not in sys.argv:
    raise ValueError(evil)
"""


@pytest.fixture
def evil(cli: Cli, project: Project) -> Cli:
    """A sweep `s` of a run that finished and one that failed, whose name, key, value, metrics and log hold commands."""
    project.write("program.py", PROGRAM)
    grid = ["-m", "model=svm,mlp", f"+extra='{EVIL}','b'", "--", "python", "program.py"]
    assert cli("add", "--sweep", "s", *grid).code == 0
    assert cli("agent", "--drain", "-j", "2").code == 0
    return cli


def terminal(project: Project, *arguments: str) -> str:
    return printed(project.folder, 100, sys.executable, "-m", "launcher", *arguments).decode()


def commands(text: str) -> list[str]:
    """What commands the terminal, beside colours that launcher itself ends."""
    own = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [char for char in own if (ord(char) < 32 and char != "\n") or 127 <= ord(char) < 160]


@pytest.mark.parametrize(
    "command", ["results s", "failures s", "status s", "events s", "results s --group-by model", "plan s.yaml -- true"]
)
def test_no_command_reaches_the_terminal(evil: Cli, project: Project, command: str) -> None:
    project.write("s.yaml", f"name: s\ngrid: {{+extra: ['a', {json.dumps(EVIL)}]}}\n")
    shown = terminal(project, *command.split())
    assert "red" in shown
    assert commands(shown) == []
    assert shown.endswith("\n")


def test_show_and_errors_command_nothing(evil: Cli, project: Project) -> None:
    items = json.loads(evil("status", "s", "--json").out)
    assert len(items) == 4
    for item in items:
        shown = terminal(project, "show", item["id"])
        assert "red" in shown
        assert commands(shown) == []
    missing = terminal(project, "show", f"{EVIL}")
    assert commands(missing) == []


def test_the_last_state_of_a_progress_bar_says_why_a_run_failed(cli: Cli, project: Project) -> None:
    project.write("bar.py", "print('\\r'.join(f'{n:>3} %|####' for n in range(100)), end='\\r')\nraise SystemExit(3)")
    assert cli("add", "--sweep", "s", "--", "python", "bar.py").code == 0
    assert cli("agent", "--drain").code == 0
    [item] = json.loads(cli("status", "s", "--json").out)
    assert item["reason"] == "exit code 3: 99 %|####"


def test_a_log_is_whole_in_a_pipe_and_has_only_colours_on_a_terminal(evil: Cli, project: Project) -> None:
    item = json.loads(evil("status", "s", "--json", "--where", "model=svm").out)[0]["id"]
    log = project.run("logs", item).out
    assert log == EVIL + "\n10 %\n50 %\n90 %\n"  # text mode: a carriage return ends a line
    shown = terminal(project, "logs", item)
    assert shown == "\x1b[31mred5A\n10 %\r50 %\r90 %\r\x1b[0m"
    assert terminal(project, "logs", "-f", item) == shown


def test_failures_are_cut_on_a_terminal_and_whole_in_a_pipe(cli: Cli, project: Project) -> None:
    project.write("long.py", f"raise ValueError('{'x' * 300}')")
    assert cli("add", "--sweep", "s", "--", "python", "long.py").code == 0
    assert cli("agent", "--drain").code == 0
    assert cli("failures", "s").out.count("x" * 300) >= 2  # the reason, and the log's last line
    shown = terminal(project, "failures", "s")
    assert "x" * 150 not in shown
    assert shown.count("x…") >= 2
