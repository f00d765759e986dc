"""Tells what sweeps want told: by commands and webhooks, in a thread of the agent's, so that no run waits for them."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from launcher import canonical
from launcher.agent.runs import AgentEvent, Listen
from launcher.errors import StoreError
from launcher.notices import Notice, place
from launcher.queues import Store

COMMAND_SECONDS = 30.0
WEBHOOK_SECONDS = 10.0
PAUSE_SECONDS = 0.2
"""Between two looks, however many runs end."""

LEAVING_SECONDS = 10.0
"""How long an agent that ends stays for notices that could not be sent yet; others, or the next one, go on."""


class Notifier:
    """Sends the notices of a store's sweeps, each once, whichever agent is first. `environ`: where secrets are."""

    def __init__(  # noqa: PLR0913 - what it works with
        self, store: Store, agent: str, folder: Path, environ: Mapping[str, str], seconds: float, listen: Listen
    ) -> None:
        self._store = store
        self._agent = agent
        self._folder = folder
        self._environ = environ
        self._seconds = seconds
        self._listen = listen
        self._unsent: set[str] = set()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="notices")

    def __enter__(self) -> Notifier:
        """Begin to look; every few seconds, and when woken."""
        self._thread.start()
        return self

    def hear(self, event: AgentEvent) -> None:
        """What the agent tells, on its way to who listens; when something ended, there may be something to tell."""
        self._listen(event)
        if event.kind == "ended":
            self._wake.set()

    def __exit__(self, *_: object) -> None:
        """Tell what is left, and end."""
        self._closing.set()
        self._wake.set()
        self._thread.join(LEAVING_SECONDS + COMMAND_SECONDS)

    def _run(self) -> None:
        until: float | None = None
        while True:
            self._wake.wait(self._seconds if until is None else 1.0)
            self._wake.clear()
            if self._closing.is_set() and until is None:
                until = time.monotonic() + LEAVING_SECONDS
            self._round()
            if until is not None and (not self._unsent or time.monotonic() > until):
                return
            self._closing.wait(PAUSE_SECONDS)

    def _round(self) -> None:
        """Send what is due."""
        try:
            while notice := self._store.take_notice(self._agent):
                error = deliver(notice, self._environ, self._folder)
                self._store.settle_notice(notice, self._agent, error)
                if error is None:
                    self._unsent.discard(notice.id)
                    self._listen(AgentEvent("notified", f"notified {_name(notice)}: {notice.text()}"))
                else:
                    self._unsent.add(notice.id)
                    told = f"could not notify {_name(notice)} ({notice.text()}): {error}"
                    self._listen(AgentEvent("trouble", told))
        except StoreError:
            pass  # the agent's loop tells of it; the row is taken again later


def deliver(notice: Notice, environ: Mapping[str, str], folder: Path) -> str | None:
    """Run a notice's command, or call its webhook; None if that went well, else why not."""
    if "command" in notice.target:
        return _command(notice, environ, folder)
    return _webhook(notice, environ)


def _command(notice: Notice, environ: Mapping[str, str], folder: Path) -> str | None:
    """The command gets the body as JSON on its standard input, and the parts that most want as variables."""
    told = {
        "LAUNCHER_SWEEP": notice.sweep, "LAUNCHER_EVENT": notice.event, "LAUNCHER_TEXT": notice.text(),
        "LAUNCHER_NOTICE": notice.id,
    }  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            list(notice.target["command"]), input=canonical.encode(notice.body()), env={**environ, **told}, cwd=folder,
            text=True, capture_output=True, timeout=COMMAND_SECONDS, check=False, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took longer than {COMMAND_SECONDS:g} s"
    except (OSError, ValueError) as error:
        return f"it cannot be started: {error}"
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return f"exit code {done.returncode}{': ' if last else ''}{last}" if done.returncode else None


def _webhook(notice: Notice, environ: Mapping[str, str]) -> str | None:
    """A POST of the body as JSON, signed where the target names a secret; any 2xx is well."""
    import requests

    body = canonical.encode(notice.body()).encode()
    headers = {
        "Content-Type": "application/json", "User-Agent": "launcher", "X-Launcher-Event": notice.event,
        "X-Launcher-Delivery": notice.id,
    }  # fmt: skip
    name = notice.target.get("secret")
    if name:
        if not environ.get(name):
            return f"its secret {name} is not in the agent's environment"
        headers |= signature(environ[name], int(time.time()), body)
    try:
        answer = requests.post(
            notice.target["webhook"], data=body, headers=headers, timeout=WEBHOOK_SECONDS, allow_redirects=False
        )
    except requests.RequestException as error:
        reason = getattr(error.args[0] if error.args else None, "reason", None)  # the whole text names the address
        return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return None if answer.ok and answer.status_code < 300 else f"it answered {answer.status_code}"


def signature(secret: str, at: int, body: bytes) -> dict[str, str]:
    """The headers that sign a body: HMAC-SHA256 over `<timestamp>.<body>`, so that an old one cannot be sent again.

    >>> signature("key", 0, b"{}")["X-Launcher-Signature"][:19]
    'sha256=7314351dd949'
    """
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Launcher-Timestamp": str(at), "X-Launcher-Signature": f"sha256={mac}"}


def _name(notice: Notice) -> str:
    """A target as people know it, without what only it should know."""
    if "command" in notice.target:
        return str(notice.target["command"][0])
    return place(str(notice.target["webhook"]))
