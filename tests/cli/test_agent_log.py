"""What an agent prints, for programs that read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from launcher.agent import AgentEvent
from launcher.cli.agent import as_json
from tests.conftest import Project, Result

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
