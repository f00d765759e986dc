"""Notices of sweeps: told once by real agents, whatever becomes of these; webhooks are signed and tried again."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher import LaunchError, launch_sweep
from launcher.agent import notifier
from launcher.agent.notifier import deliver
from launcher.notices import Notice, parsed, problems, shown
from launcher.queues import open_store
from tests.conftest import Project, Result, until

Cli = Callable[..., Result]
TELL = "import json, os, sys; body = json.load(sys.stdin); open(sys.argv[1], 'a').write(os.environ['LAUNCHER_EVENT'] + ' ' + body['text'] + '\\n')"  # noqa: E501
PROGRAM = "import sys, time; time.sleep(0.05); sys.exit(sys.argv[1] in ('seed=2', 'seed=5'))\n"


def sweep_file(project: Project, notify: Any) -> str:
    project.write("fit.py", PROGRAM)
    content = {"name": "s", "grid": {"seed": "range(10)"}, "notify": notify}
    project.write("s.yaml", json.dumps(content))
    return "s.yaml"


@contextmanager
def server(answers: list[int]) -> Iterator[tuple[str, list[Any]]]:
    """An HTTP server that answers so in turn, 200 when there are no more, and what it got."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((dict(self.headers), body))
            self.send_response(answers.pop(0) if answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/hook", got
        http.shutdown()
        thread.join()


def test_several_agents_tell_each_event_once(cli: Cli, project: Project) -> None:
    told = project.folder / "told"
    command = ["python", "-c", TELL, str(told)]
    notify = [{"command": command, "on": ["first_failure", "20%", "end"]}]
    assert cli("add", sweep_file(project, notify), "--", "python", "fit.py").code == 0
    agents = [project.start("agent", "--drain", "-j", "2") for _ in range(3)]
    outputs = [agent.communicate(timeout=60) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0, 0], outputs
    lines = sorted(told.read_text().splitlines())
    assert [line.split()[0] for line in lines] == ["20%", "end", "first_failure"]
    assert lines[1] == "end sweep s has ended: 8 finished, 2 failed"
    assert sum("notified python" in out for out, _ in outputs) >= 1
    assert cli("agent", "--drain").code == 0
    assert len(told.read_text().splitlines()) == 3


def test_agents_that_are_killed_and_started_again_tell_each_event(cli: Cli, project: Project) -> None:
    """Once; one that is killed while it tells leaves it to the next, who tells it by the same ID."""
    told = project.folder / "told"
    notify = {"command": ["sh", "-c", 'echo "$LAUNCHER_NOTICE $LAUNCHER_EVENT" >> "$0"', str(told)]}
    assert cli("add", sweep_file(project, notify), "--", "python", "fit.py").code == 0
    for number in (2, 5):
        agent = project.start("agent", "-j", "2")
        until(lambda number=number: _ended(project) >= number, f"{number} ended runs")
        agent.kill()
        agent.communicate()
    assert project.run("agent", "--drain", "-j", "2").code == 0
    lines = told.read_text().splitlines()
    assert sorted(line.split()[1] for line in set(lines)) == ["end", "first_failure"]
    assert len(lines) <= 4, "each of the two that were killed was in the middle of one at most"


def _ended(project: Project) -> int:
    store = open_store(project.store_url)
    try:
        return sum(count.number for count in store.counts() if count.state.value in ("finished", "failed"))
    finally:
        store.close()


def test_a_webhook_is_signed_and_tried_again_until_it_is_well(
    cli: Cli, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", "sesame")
    with server([500]) as (url, got):
        notify = {"webhook": url, "secret": "HOOK_KEY", "on": "end"}
        assert cli("add", sweep_file(project, notify), "--", "true").code == 0
        result = project.run("agent", "--drain", "-j", "2")
    assert result.code == 0
    assert "could not notify" in result.out
    assert "it answered 500" in result.out
    assert len(got) == 2
    for headers, body in got:
        stamped = headers["X-Launcher-Timestamp"].encode() + b"." + body
        mac = hmac.new(b"sesame", stamped, hashlib.sha256).hexdigest()
        assert headers["X-Launcher-Signature"] == f"sha256={mac}"
    bodies = [json.loads(body) for _, body in got]
    assert bodies[0] == bodies[1]
    assert bodies[0]["counts"] == {"finished": 10}
    assert {headers["X-Launcher-Delivery"] for headers, _ in got} == {bodies[0]["id"]}


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"command": ["no-such-program"]}, "it cannot be started: "),
        ({"command": ["sh", "-c", "echo oh no >&2; exit 3"]}, "exit code 3: oh no"),
        ({"command": ["sleep", "60"]}, "it took longer than 0.2 s"),
        ({"webhook": "http://127.0.0.1:9/T0SECRET"}, "ConnectionError: "),
        ({"webhook": "http://[::1/T0SECRET"}, "InvalidURL"),
        (
            {"webhook": "http://127.0.0.1:9/x", "secret": "NO_KEY"},
            "its secret NO_KEY is not in the agent's environment",
        ),
    ],
)
def test_what_went_wrong_is_told(tmp_path: Path, target: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "COMMAND_SECONDS", 0.2 if "sleep" in str(target) else 30.0)
    error = deliver(Notice("s", target, "end", {"finished": 1}, 1), {"PATH": "/bin:/usr/bin"}, tmp_path)
    assert error
    assert error.startswith(why)
    assert "T0SECRET" not in error


def test_an_address_that_an_earlier_version_took_is_shown_without_its_path() -> None:
    assert shown({"webhook": "https://[::1/T0SECRET"})["webhook"] == "an address that is none/…"


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with server([302]) as (url, got):
        assert deliver(Notice("s", {"webhook": url}, "end", {}, 1), {}, tmp_path) == "it answered 302"
        assert deliver(Notice("s", {"webhook": url}, "end", {}, 1), {}, tmp_path) is None
    assert len(got) == 2
    assert "X-Launcher-Signature" not in got[0][0]


WRONG = [
    ("mail me", "notify is 'mail me', expected {command: [program, …]} or {webhook: https://…}, with on and secret"),
    ({"command": ["a"], "webhook": "https://x"}, "expected {command: [program, …]} or {webhook: https://…}"),
    ({"command": "mail"}, "notify.command is 'mail', expected a list: the program, then its arguments"),
    ([{"webhook": "x"}], "notify[0].webhook is 'x', expected an address: https://…"),
    ({"webhook": "https://[::1/hook"}, "notify.webhook is 'https://[::1/hook', expected an address: https://…"),
    ({"webhook": "https://host:99999/hook"}, "notify.webhook is 'https://host:99999/hook', expected an address"),
    ({"command": ["a"], "on": ["stop", "0%", 5]}, "notify.on is 'stop', expected first_failure, end, or a share that"),
    ({"command": ["a"], "secret": "K"}, "notify.secret is 'K', expected the name of a variable in the agents'"),
    ({"webhook": "https://x", "secret": "a b"}, "notify.secret is 'a b', expected the name of a variable"),
]


@pytest.mark.parametrize(("notify", "why"), WRONG)
def test_a_wrong_notify_is_told_before_anything_is_queued(notify: Any, why: str, cli: Cli, project: Project) -> None:
    assert why in "\n".join(problems("notify", notify))
    result = cli("add", sweep_file(project, notify), "--", "true")
    assert result.code == 2
    assert why in result.err
    with pytest.raises(LaunchError) as error:
        launch_sweep("s", [], notify=notify)
    assert why in str(error.value)


def test_a_notify_is_read_as_it_is_meant() -> None:
    assert parsed(None) == ()
    assert parsed({"command": ["a"], "on": ["12.5 %", "end", "end"]}) == ({"command": ["a"], "on": ["12.5%", "end"]},)
    assert parsed([{"webhook": "https://x"}])[0]["on"] == ["first_failure", "end"]
    written = yaml.safe_load("{command: [a], on: 10%}")
    assert list(problems("notify", written)) == []
    assert parsed(written) == ({"command": ["a"], "on": ["10%"]},)


def test_status_shows_no_address_that_is_a_secret(cli: Cli, project: Project) -> None:
    project.write("sweep.yaml", "name: s\ngrid: {seed: [1]}\nnotify: {webhook: 'https://hooks.example/T0/secret'}\n")
    assert cli("add", "sweep.yaml", "--", "true").code == 0
    [sweep] = json.loads(cli("status", "--json").out)["sweeps"]
    assert sweep["notify"] == [{"webhook": "https://hooks.example/…", "on": ["first_failure", "end"]}]
