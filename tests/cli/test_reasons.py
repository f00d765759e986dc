"""Whoever waits hears, once, what would make them wait for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from launcher.cli.reasons import Reasons
from launcher.item import AgentInfo, ItemFilter
from launcher.queues import open_store
from tests.conftest import Project, Result

Cli = Callable[..., Result]
NO_AGENT = "no agent is running; start one: launcher agent"


@pytest.fixture
def queued(cli: Cli) -> Cli:
    assert cli("add", "--sweep", "my s", "-m", "seed=1,2", "--", "true").code == 0
    return cli


def agent_of(project: Project, *queues: str, silent: float = 0.0) -> None:
    store = open_store(project.store_url)
    now = time.time() - silent
    store.register(AgentInfo("a", "host", 1, 0.0, queues, 1, now, now))
    store.close()


def reasons(cli: Cli, *names: str) -> str:
    told = cli("wait", *names, "--timeout", "0")
    assert told.code == 1
    return told.err.removeprefix("launcher: 2 of 2 items had not ended after 0 s: 2 pending").strip("; \n")


def test_a_deadline_says_why_nothing_goes_on(queued: Cli, project: Project) -> None:
    assert reasons(queued, "my s") == NO_AGENT
    agent_of(project, "other")
    takes = "no agent takes from queue default; start one: launcher agent -q default"
    assert reasons(queued, "my s") == takes
    agent_of(project)
    assert reasons(queued, "my s") == ""
    queued("queue", "pause", "default")
    assert reasons(queued, "my s") == "2 in queue default, which is paused; launcher queue resume default"
    queued("queue", "resume", "default")
    queued("pause", "my s")
    assert reasons(queued, "my s") == "2 paused; launcher resume 'my s'"
    ids = [item["id"] for item in json.loads(queued("status", "my s", "--json").out)]
    assert reasons(queued, *ids) == f"2 paused; launcher resume {' '.join(ids)}"
    agent_of(project, silent=3600)
    assert NO_AGENT in reasons(queued, "my s")


def test_each_reason_is_told_once(
    queued: Cli, project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launcher.cli.reasons.LOOK_SECONDS", 0.0)
    store = open_store(project.store_url)
    capfd.readouterr()
    waiting = Reasons(store, [ItemFilter(sweep="my s")], ["my s"])
    waiting.tell()
    waiting.tell()
    assert capfd.readouterr().err == f"launcher: {NO_AGENT}\n"
    store.hold(ItemFilter())
    waiting.tell()
    waiting.tell()
    assert capfd.readouterr().err == "launcher: 2 paused; launcher resume 'my s'\n"
    store.close()


@pytest.mark.parametrize("command", [["wait"], ["logs", "-f"]])
def test_who_waits_hears_it_at_once(queued: Cli, project: Project, command: list[str]) -> None:
    [item, other] = [item["id"] for item in json.loads(queued("status", "my s", "--json").out)]
    waiting = project.start(*command, item)
    assert waiting.stderr is not None
    assert waiting.stderr.readline() == f"launcher: {NO_AGENT}\n"
    queued("cancel", item, other)
    assert waiting.communicate(timeout=60)[1] == ""
