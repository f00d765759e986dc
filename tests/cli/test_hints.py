"""Commands that messages tell people to copy: a shell reads them as they are meant, whatever names hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest

from tests.conftest import Project, Result

Cli = Callable[..., Result]
NAMES = ["night", "it's a sweep", 'say "hi" $HOME', "a;b|c"]


COMMAND = re.compile(
    r"launcher ((?:status|cancel|retry|results|queue create|queue resume) .*?)(?=   |, | lets| shows| what|: 1 of|$)",
    re.MULTILINE,
)


def commands(text: str) -> list[list[str]]:
    """The words of each command in a text, as a shell reads them."""
    return [shlex.split(each) for each in COMMAND.findall(text)]


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_is_followed_stopped_and_retried_by_the_commands_that_are_told(
    cli: Cli, project: Project, name: str
) -> None:
    added = cli("add", "--sweep", name, "-m", "seed=0", "--", "false")
    assert commands(added.out) == [["status", name], ["cancel", name]]
    assert all(cli(*words).code == 0 for words in commands(added.out)[:1])
    assert cli("agent", "--drain").code == 0
    [retry] = commands(cli("failures", name).out)
    assert cli(*retry).out == "1 queued again\n"
    [status, results] = commands(cli("show", name).err)
    assert cli(*status).code == cli(*results).code == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_queue_is_made_and_resumed_by_the_commands_that_are_told(cli: Cli, name: str) -> None:
    [create] = commands(cli("agent", "-q", name, "--drain").err)
    assert commands(cli("add", "-q", name, "--", "true").err) == [create]
    assert create == ["queue", "create", name]
    assert cli(*create).code == 0
    [resume] = commands(cli("queue", "pause", name).out)
    assert resume == ["queue", "resume", name]
    assert cli(*resume).code == 0


def test_a_backup_is_used_as_it_is_told(cli: Cli, project: Project) -> None:
    assert cli("add", "--sweep", "s", "--", "true").code == 0
    told = cli("store", "backup", "copy of it's store.db").out
    words = shlex.split(told.partition("use it as ")[2])
    assert words == ["--store", f"sqlite:///{project.folder}/copy of it's store.db"]
    assert cli("status", "s", *words).code == 0
