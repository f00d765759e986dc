"""A server of the tests: the application on a free port of loopback, in this process, over a store of its own; and
W&B's released clients, each in an environment of its own."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from launcher.queues import Store
from launcher.server.access import add_user
from tests.conftest import needs, until
from tests.services import free_port

collect_ignore = ["clients"]  # programs, which doctest would import
CLIENTS = Path(__file__).parent / "clients"
OLD = "0.18.0"
OLD_PINS = Path(__file__).parent / f"wandb-{OLD}.txt"
PATIENCE_SECONDS = 100
AGENT_END_SECONDS = 30


@dataclass
class Served:
    """A running server. `ann` is admin of team, `bob` of lab, `hal` of home, `eve` may only read in team; keys by
    name."""

    url: str
    store: Store
    folder: Path
    keys: dict[str, str]

    def ask(self, query: str, who: str = "ann", **variables: Any) -> requests.Response:
        """The response to a GraphQL document."""
        return self.post("/graphql", {"query": query, "variables": variables}, who)

    def data(self, query: str, who: str = "ann", **variables: Any) -> Any:
        """The data of a document that is answered without errors."""
        response = self.ask(query, who, **variables)
        assert response.status_code == 200, response.text
        assert "errors" not in response.json(), response.text
        return response.json()["data"]

    def post(self, path: str, body: Any, who: str = "ann") -> requests.Response:
        return requests.post(self.url + path, json=body, auth=("api", self.keys[who]), timeout=PATIENCE_SECONDS)

    def environment(self, who: str = "ann", **more: str) -> dict[str, str]:
        """What W&B's programs need to talk to this server, and to nobody else."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("WANDB_")},
            "WANDB_BASE_URL": self.url, "WANDB_API_KEY": self.keys[who], "WANDB_ERROR_REPORTING": "false",
            "WANDB_DIR": str(home), "WANDB_CACHE_DIR": str(home), "WANDB_DATA_DIR": str(home), "HOME": str(home),
            **more,
        }  # fmt: skip


def serving(store: Store, folder: Path) -> Iterator[str]:
    """The address of an application over a store, while it runs."""
    import uvicorn

    from launcher.server.app import create_app

    port = free_port()
    app = create_app(store, folder, entity="home")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    yield from running(server)


def running(server: Any) -> Iterator[str]:
    """The address of a server of uvicorn's, while it runs."""
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started or not thread.is_alive(), "the server's start")
    yield f"http://127.0.0.1:{server.config.port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def served(store: Store, tmp_path: Path) -> Iterator[Served]:
    pytest.importorskip("graphql", reason="no extra server: launcher[server] is not installed")
    keys = {
        "ann": add_user(store, "ann", {"team": "admin"}),
        "bob": add_user(store, "bob", {"lab": "admin"}),
        "eve": add_user(store, "eve", {"team": "viewer"}),
        "hal": add_user(store, "hal", {"home": "admin"}),
    }
    for url in serving(store, tmp_path / "server"):
        yield Served(url, store, tmp_path, keys)


@dataclass(frozen=True)
class Wandb:
    """A released `wandb`, by the folder of its programs."""

    version: str
    programs: Path

    def python(self, script: str, served: Served, *arguments: str, **more: str) -> Any:
        """What a script of clients/ prints at last, as JSON."""
        command = [str(self.programs / "python"), str(CLIENTS / script), *arguments]
        return json.loads(self._run(command, served, more).stdout.splitlines()[-1])

    def cli(self, served: Served, *arguments: str, **more: str) -> str:
        """What the command line tells."""
        done = self._run([str(self.programs / "wandb"), *arguments], served, more)
        return done.stdout + done.stderr

    @contextmanager
    def agent(self, served: Served, queue: str, jobs: int, **more: str) -> Iterator[Path]:
        """The launch agent of this release while the block lasts, its programs first on its PATH; what it prints is in
        the file. Its own end may hang, or leave its service: that is not what is tested, and ends nothing here."""
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        arguments = ["launch-agent", "-e", "team", "-q", queue, "-j", str(jobs)]
        log = served.folder / "agent.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [str(self.programs / "wandb"), *arguments], env=served.environment(**{"PATH": path, **more}),
                cwd=served.folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            yield log
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(AGENT_END_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _run(self, command: list[str], served: Served, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, env=served.environment(**more), cwd=served.folder, capture_output=True, text=True, check=False,
            timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
        return done


def _old() -> Path | None:
    """The programs of the old release, installed once beside this environment; None where it cannot be installed."""
    folder = Path(sys.prefix) / f"wandb-{OLD}"
    done = folder / "installed"
    with (Path(sys.prefix) / f"wandb-{OLD}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process of the session installs it
        if not done.exists():
            install = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            if subprocess.run([*install, "-r", str(OLD_PINS)], capture_output=True, check=False).returncode:
                return None
            done.touch()
    return folder / "bin"


@pytest.fixture(params=["newest", OLD])
def wandb(request: pytest.FixtureRequest) -> Wandb:
    if request.param == "newest":
        needs("wandb", importlib.util.find_spec("wandb") is not None, "the package is not installed")
        return Wandb("newest", Path(sys.executable).parent)
    programs = _old()
    needs("wandb", programs is not None, f"version {OLD} cannot be installed")
    assert programs
    return Wandb(OLD, programs)
