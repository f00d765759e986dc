"""Commands that only look make no store where there is none, and say where they looked."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Project, Result

Cli = Callable[..., Result]
LOOKING = [
    ["status"], ["status", "s"], ["results"], ["results", "s"], ["failures", "s"], ["plot", "s"], ["show", "a"],
    ["logs", "a"], ["wait", "s"], ["events"], ["diff", "a", "b"], ["queue", "list"], ["queue", "show", "default"],
    ["job", "list"], ["user", "list"], ["cancel", "s"], ["pause", "--all"], ["store", "info"],
]  # fmt: skip


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
@pytest.mark.parametrize("named", ["option", "environment"])
def test_a_named_store_that_is_not_there_is_told(
    cli: Cli, project: Project, command: list[str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named == "environment":
        monkeypatch.setenv("LAUNCHER_STORE", "sqlite:///nodb.db")
    told = cli(*command, *(["--store", "sqlite:///nodb.db"] if named == "option" else []))
    assert (told.code, told.out) == (1, "")
    assert told.err == (
        f"launcher: there is no store at {project.folder}/nodb.db; name another with --store sqlite:///PATH\n"
    )
    assert not list(project.folder.glob("nodb.db*"))


@pytest.mark.parametrize("command", [command for command in LOOKING if command != ["store", "info"]], ids=" ".join)
def test_a_projects_store_is_empty_until_something_is_added(cli: Cli, project: Project, command: list[str]) -> None:
    looked = cli(*command)
    if command[-1] == "s":
        assert f"none is known in {project.store_url}\n" in looked.err
    elif command == ["status"]:
        assert (looked.code, looked.err) == (0, "")
        assert looked.out.endswith("no agent is running; start one: launcher agent\n")
    assert not (project.folder / ".launcher").exists()


def test_an_empty_database_stays_empty(cli: Cli, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres").database()
    assert "there is no store at" in cli("status", "--store", url).err
    assert cli("add", "--store", url, "--sweep", "s", "--", "true").code == 0
    assert len(json.loads(cli("status", "s", "--json", "--store", url).out)) == 1
