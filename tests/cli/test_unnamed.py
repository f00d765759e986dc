"""Commands that were given no name: the last sweep where one was expected, and the newest items where an ID was."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Result

Cli = Callable[..., Result]
LAST = "launcher: no sweep is named; this is 'late', which was added last\n"


@pytest.fixture
def failed(cli: Cli) -> Cli:
    """Two sweeps, whose runs failed."""
    for sweep in ("early", "late"):
        assert cli("add", "--sweep", sweep, "-m", "seed=1,2", "--", "false").code == 0
    assert cli("agent", "--drain").code == 0
    return cli


@pytest.mark.parametrize("command", ["results", "failures"])
def test_the_last_sweep_is_meant_where_none_is_named(failed: Cli, command: str) -> None:
    unnamed, named = failed(command), failed(command, "late")
    assert (unnamed.code, unnamed.out, unnamed.err) == (0, named.out, LAST)
    assert named.err == ""
    assert json.loads(failed(command, "--json").out) == json.loads(failed(command, "late", "--json").out)


def test_the_last_sweep_is_drawn_where_none_is_named(failed: Cli) -> None:
    pytest.importorskip("vl_convert", reason="needs the extra plot")
    drawn = failed("plot", "--kind", "timeline")
    assert (drawn.code, drawn.out, drawn.err) == (0, "late.png\n", LAST)


@pytest.mark.parametrize("command", ["results", "failures", "plot"])
def test_where_there_is_no_sweep_that_is_told(cli: Cli, command: str) -> None:
    assert cli("queue", "create", "other").code == 0
    told = cli(command)
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("launcher: there is no sweep in sqlite:///")


@pytest.mark.parametrize("command", ["logs", "show"])
def test_the_newest_items_are_listed_where_an_id_is_missing(failed: Cli, command: str) -> None:
    told = failed(command)
    assert (told.code, told.out) == (2, "")
    for item in json.loads(failed("status", "late", "--json").out):
        assert f"{item['id']} (failed)" in told.err


@pytest.mark.parametrize("command", ["logs", "show"])
def test_where_there_is_no_item_that_is_told(cli: Cli, command: str) -> None:
    assert cli("queue", "create", "other").code == 0
    assert "no item is named; expected an ID, or the beginning of one; none is in sqlite:///" in cli(command).err
