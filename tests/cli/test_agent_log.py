"""What an agent prints, for programs that read it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import AgentEvent
from launcher.cli import agent_events
from launcher.cli.agent_events import as_json, describe
from launcher.errors import StoreError
from launcher.outcome import Finished
from launcher.queues.sqlite import SqliteStore
from launcher.spec import LaunchSpec
from tests.conftest import PATIENCE_SECONDS, Project, Result

Cli = Callable[..., Result]
PROGRAM = """\
import launcher, sys
seed = int(sys.argv[-1].split("=")[1])
launcher.report(loss=seed / 10)
sys.exit(seed == 2)
"""


def lines(done: Result) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.fixture
def ids(cli: Cli, project: Project) -> list[str]:
    project.write("program.py", PROGRAM)
    added = cli("add", "--sweep", "s", "--json", "-m", "seed=1,2", "--", "python", "program.py")
    return json.loads(added.out)["ids"]  # type: ignore[no-any-return]


def test_each_event_is_a_line_of_json(cli: Cli, ids: list[str]) -> None:
    told = lines(cli("agent", "--drain", "--log-format", "json"))
    assert [(line["event"], line.get("outcome"), line["level"], line["item"]) for line in told] == [
        ("started", None, "info", ids[0]),
        ("ended", "finished", "info", ids[0]),
        ("started", None, "info", ids[1]),
        ("ended", "failed", "warning", ids[1]),
    ]
    assert {(line["sweep"], line["queue"], line["attempt"]) for line in told} == {("s", "default", 1)}
    assert told[1]["result"] == {"loss": 0.1}
    assert (told[3]["stage"], told[3]["exit_code"]) == ("run", 1)
    assert told[3]["reason"].startswith("exit code 1")
    assert told[3]["message"].startswith(f"failed     {ids[1]}  seed=2: run: exit code 1")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(told[0]["time"])) < timedelta(minutes=10)
    assert set(told[0]) == {"time", "level", "event", "message", "item", "sweep", "queue", "attempt"}


def test_the_environment_chooses_the_format(cli: Cli, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCHER_LOG_FORMAT", "json")
    assert len(lines(cli("agent", "--drain"))) == 4
    monkeypatch.setenv("LAUNCHER_LOG_FORMAT", "xml")
    bad = cli("agent", "--drain")
    assert bad.code == 2
    assert "'xml' is not one of 'text', 'json'" in bad.err


def test_an_event_about_the_agent_itself_has_its_text() -> None:
    told = json.loads(as_json(AgentEvent("trouble", "heartbeat: é")))
    del told["time"]
    assert told == {"level": "warning", "event": "trouble", "message": "heartbeat: é"}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_agent_works_on_when_nobody_reads_its_output_any_more(
    project: Project, ids: list[str], log_format: str
) -> None:
    with project.start("agent", "--drain", "--log-format", log_format) as agent:
        assert agent.stdout
        agent.stdout.readline()
        agent.stdout.close()
        assert agent.stderr
        told = agent.stderr.read()
        assert agent.wait(PATIENCE_SECONDS) == 0
    assert told == "launcher: the output cannot be written: Broken pipe; we work on\n"
    assert states(project) == ["finished", "failed"]


def test_an_agent_works_on_when_there_is_no_room_for_its_output(project: Project, ids: list[str]) -> None:
    command = [sys.executable, "-m", "launcher", "agent", "--drain"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=project.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr == "launcher: the output cannot be written: No space left on device; we work on\n"
    assert states(project) == ["finished", "failed"]


def states(project: Project) -> list[str]:
    return [item["state"] for item in json.loads(project.run("status", "s", "--json").out)]


def test_an_agent_on_a_terminal_outlives_its_store_being_away(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agent_events, "on_terminal", lambda: True)
    with agent_events.displayed(store, False, "text") as listen:

        def away() -> Any:
            raise StoreError("the store is away")

        monkeypatch.setattr(store, "counts", away)
        listen(AgentEvent("trouble", "the store is away; trying again"))
    assert "the store is away; trying again" in capsys.readouterr().out


def test_a_line_cuts_long_metrics_and_json_has_them_whole(store: SqliteStore) -> None:
    store.push(None, [LaunchSpec({"overrides": {"entry_point": ["true"]}, "resource": "local-process"})])
    [lease] = store.pop("a", ["default"], 1)
    result = {"note": "x" * 1000, **{f"m{number}": number for number in range(20)}}
    event = AgentEvent("ended", "", lease, Finished(result))
    assert describe(event).partition(lease.item.id)[2].split() == [
        f"note={'x' * 39}…", *(f"m{number}={number}" for number in range(11)), "…", "and", "9", "more"
    ]  # fmt: skip
    assert json.loads(as_json(event))["result"] == result
