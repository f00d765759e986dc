"""A server of the tests as a process of its own, and a machine elsewhere: agents with another home, an environment of
nothing but a key, and code that they find in a remote only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.item import ItemFilter, RunState, Sweep
from launcher.queues import Store
from launcher.server.access import add_user
from launcher.spec import LaunchSpec, Source
from tests.conftest import PATIENCE_SECONDS, Project, until
from tests.services import free_port
from tests.sources.repositories import NEUTRAL, commit, git

PROGRAM = """
import os, sys, time
from pathlib import Path
import launcher
told, wait, code, *_ = sys.argv[1:]
with Path(told).open("a") as file:
    file.write(os.environ["WANDB_RUN_ID"] + "\\n")
print("begins", flush=True)
while wait != "-" and not Path(wait).exists():
    time.sleep(0.05)
launcher.report(step=1, loss=0.5)
launcher.report(accuracy=0.9)
print("ends", end="")
sys.exit(int(code))
"""


@dataclass
class Server:
    """`launcher serve` over a store. `ann` is admin of team, `bob` of lab, `eve` may only read in team."""

    store: Store
    folder: Path
    port: int = field(default_factory=free_port)
    keys: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        for name, roles in (("ann", {"team": "admin"}), ("bob", {"lab": "admin"}), ("eve", {"team": "viewer"})):
            self.keys[name] = add_user(self.store, name, roles)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "launcher", "serve", "--port", str(self.port), "--entity", "team"]
        command += ["--store", self.store.url, "--files", str(self.folder / "files")]
        self._process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert "serving" in self._process.stdout.readline()

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.communicate(timeout=PATIENCE_SECONDS)


@dataclass
class Machine:
    """Another machine: it has its own home, and reaches what has an address."""

    home: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, key: str | None, **more: str) -> dict[str, str]:
        self.home.mkdir(exist_ok=True)
        given = {"WANDB_API_KEY": key} if key else {}
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), **given, **more}

    def start(self, url: str, key: str | None, *options: str, **more: str) -> subprocess.Popen[str]:
        """An agent there."""
        environment = self.environment(key, **more)
        command = [sys.executable, "-m", "launcher", "agent", "--store", f"wandb+{url}", *options]
        process = subprocess.Popen(
            command, cwd=self.home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.processes.append(process)
        return process

    def run(self, url: str, key: str | None, *options: str, **more: str) -> tuple[int, str]:
        """An agent there, to its end: its exit code, and what it told."""
        process = self.start(url, key, *options, **more)
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@dataclass(frozen=True)
class Code:
    """A program in a remote, and which of its runs began, by their IDs."""

    remote: Path
    commit: str
    told: Path

    @staticmethod
    def pushed(folder: Path) -> Code:
        remote, work = folder / "remote.git", folder / "work"
        remote.mkdir(parents=True)
        work.mkdir()
        git(remote, "init", "--quiet", "--bare")
        git(work, "init", "--quiet", "--initial-branch=main")
        made = commit(work, PROGRAM)
        git(work, "push", "--quiet", str(remote), "main")
        return Code(remote, made, folder / "told.txt")

    def spec(self, *, wait: Path | str = "-", code: int = 0, folder: str | None = None, **more: Any) -> LaunchSpec:
        """A run that waits for a file and exits with a code."""
        source = Source(folder, str(self.remote) if folder is None else None, self.commit)
        overrides = {"entry_point": ["python", "train.py"], "args": [str(self.told), str(wait), str(code)]}
        document = {"entity": "", "project": "", "docker": {}, "resource": "local-process", "overrides": overrides}
        return LaunchSpec({**document, **source.fields(), **more}, "default")

    def begun(self) -> list[str]:
        return self.told.read_text().split() if self.told.exists() else []


def push(store: Store, specs: Sequence[LaunchSpec]) -> list[str]:
    """The IDs of new items."""
    return list(store.push(Sweep("s"), specs, again=True).ids)


def states(store: Store) -> list[RunState]:
    return [item.state for item in store.items(ItemFilter())]


def reaches(store: Store, item_id: str, state: RunState) -> None:
    until(lambda: store.item(item_id).state is state, f"{item_id} being {state.value}")


def ended_once(store: Store, ids: Sequence[str]) -> None:
    """Each of these items has finished, and was said to have once."""
    for item_id in ids:
        ends = [event for event in store.events(item_id) if event.after is RunState.FINISHED]
        assert (store.item(item_id).state, len(ends)) == (RunState.FINISHED, 1), store.events(item_id)


def adder(project: Project, code: Code) -> None:
    """Make the project a clone of the remote, for somebody who adds from it."""
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    git(project.folder, "remote", "add", "origin", str(code.remote))
    project.write(".gitignore", ".launcher\n")
    project.write("train.py", PROGRAM)
    git(project.folder, "add", "-A")
    git(project.folder, "commit", "--quiet", "-m", "all")
    git(project.folder, "push", "--quiet", "--force", "origin", "main")


__all__ = ["NEUTRAL", "Code", "Machine", "Server", "adder", "ended_once", "push", "reaches", "states"]
