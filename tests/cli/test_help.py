"""`launcher --help`: every command by what it is for, on 80 columns, without importing one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from launcher.cli import COMMANDS
from launcher.cli import cli as group
from tests.conftest import Project, Result


def test_help_tells_of_every_command_and_imports_none() -> None:
    script = (
        "import sys; from launcher.cli import COMMANDS, cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print({f'launcher.cli.{entry.module}' for entry in COMMANDS.values()} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *lines, imported = done.stdout.splitlines()
    assert imported == "set()"
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line[:3].strip() and line[2:].split("  ")[0] in COMMANDS] == list(
        COMMANDS
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_help_says(name: str) -> None:
    context = click.Context(group)
    command = group.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("launcher st", "plain,status\nplain,store\n"),
        ("launcher queue sh", "plain,show\n"),
        ("launcher add --prio", "plain,--priority\n"),
        ("launcher show a", ""),
        ("launcher nonsense a", ""),
        ("launcher plan -- a", ""),
    ],
)
def test_completing_never_writes_into_the_prompt(
    project: Project, line: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("pyproject.toml", "[tool.launcher]\nstore = 3\n")
    project.write("conf/config.yaml", "[")
    for name, value in {
        "_LAUNCHER_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")),
        "LAUNCHER_STORE": "sqlite:////dev/null/store.db",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", "from launcher.cli import main; main()"]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    assert (done.stdout.strip("\n"), done.stderr) == (told.strip("\n"), "")


@pytest.mark.parametrize("words", [[], ["queue"], ["job"], ["job", "create"], ["store"], ["user"]])
def test_a_group_without_a_command_prints_its_help(cli: Callable[..., Result], words: list[str]) -> None:
    asked, alone = cli(*words, "--help"), cli(*words)
    assert alone == asked
    assert (alone.code, alone.err) == (0, "")
    assert alone.out.startswith(f"Usage: {' '.join(['launcher', *words])} ")
