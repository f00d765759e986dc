"""Code and images that our client adds to a W&B server, which takes neither but as jobs: made by W&B's command line,
newest and 0.18.0, once for a version of the code and a command, and run by its agent."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.errors import LaunchError
from launcher.item import ItemFilter, RunState
from launcher.queues.wandb.client import CLIENTS
from tests.conftest import Project, until
from tests.server.conftest import Served, Wandb
from tests.services import Docker, Registry
from tests.sources.repositories import commit, git, repository

COMMAND = ["python", "train.py"]
PROGRAM = """import sys, wandb
wandb.init()
open(sys.argv[1], "w").write("not committed " + sys.argv[2])
wandb.finish()
"""
WRAPPER = """#!{python}
import json, os, sys
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], os.environ.get("WANDB_API_KEY")]) + "\\n")
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""


class Calls:
    """What W&B's command line is called with, on the PATH of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "calls.jsonl"

    def wrap(self, program: Path) -> None:
        self.folder.mkdir()
        wrapper = self.folder / "wandb"
        wrapper.write_text(WRAPPER.format(python=sys.executable, log=str(self._log), program=str(program)))
        wrapper.chmod(0o755)

    @property
    def made(self) -> list[tuple[list[str], str]]:
        """Arguments and key of each call."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [(arguments, key) for arguments, key in map(json.loads, lines)]


@pytest.fixture
def away(served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    """The server as the store of this process, with a queue of images and one of processes."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_API_KEY", served.keys["ann"])
    monkeypatch.setenv("LAUNCHER_STORE", f"wandb+{served.url}")
    launcher.Queues().create("images", resource="local-container")
    launcher.Queues().create("local", resource="local-process")
    yield served
    CLIENTS.clear()


@pytest.fixture
def calls(wandb: Wandb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """The release's command line, first on PATH, and what it is called with."""
    made = Calls(tmp_path / "programs")
    made.wrap(wandb.programs / "wandb")
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    return made


@pytest.fixture
def code(tmp_path: Path) -> Path:
    return repository(tmp_path / "My_Code")


def documents(served: Served) -> list[dict[str, Any]]:
    return [served.store.document(item.id) for item in served.store.items(ItemFilter())]


def add(**more: Any) -> launcher.QueuedRun:
    given = {"entry_point": COMMAND, "queue_name": "images", "project": "demo", "entity": "team", **more}
    return launcher.launch_add(**given)


@pytest.fixture
def remote(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a repository with the code, on an HTTPS server of this machine that git trusts."""
    git(code, "update-server-info")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    handler = functools.partial(Quiet, directory=str(code / ".git"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}/my-code.git"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the folder as the repository my-code.git, and tells nobody."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/my-code.git"))

    def log_message(self, *_: object) -> None:
        pass


def test_a_folder_becomes_one_job_which_an_agent_runs_as_it_was(
    wandb: Wandb, calls: Calls, away: Served, code: Path, tmp_path: Path
) -> None:
    commit(code, "wandb\n", "requirements.txt")
    (code / "train.py").write_text(PROGRAM)
    (code / "beside.txt").write_text("left out\n")  # of no git
    (code / ".git/info/exclude").write_text("beside.txt\n")
    outcomes = [tmp_path / name for name in ("first", "second")]
    specs = [{"entry_point": [*COMMAND], "name": file.name, "config": over(file)} for file in outcomes]
    where = {"uri": str(code), "queue_name": "local", "project": "demo", "entity": "team"}
    assert launcher.launch_sweep("s", specs, **where).added == 2
    (code / "train.py").write_text("raise SystemExit('too late')\n")
    ((arguments, key),) = calls.made
    assert (arguments[:2], arguments[-2], key) == (["job", "create"], "code", away.keys["ann"])
    assert key not in " ".join(arguments)
    (job,) = away.store.jobs()
    for document in documents(away):
        assert document["job"] == f"{job.name}:v0"
        assert not {"uri", "repo", "version", "patch"} & (document.keys() | document["git"].keys())
    with wandb.agent(away, "local", 2):
        ended = ItemFilter(states=frozenset({RunState.FINISHED}))
        until(lambda: len(list(away.store.items(ended))) == 2, "the runs")
    assert [file.read_text() for file in outcomes] == ["not committed lr=0.1"] * 2


def over(file: Path) -> dict[str, Any]:
    return {"overrides": {"args": [str(file), "lr=0.1"]}}


def test_a_remote_becomes_a_job_of_its_commit_once_a_command(
    calls: Calls, away: Served, code: Path, remote: str
) -> None:
    first = git(code, "rev-parse", "HEAD")
    specs = [{"entry_point": command} for command in (COMMAND, COMMAND, ["python", "other.py", "a b"])]
    where = {"uri": remote, "version": "main", "queue_name": "images", "project": "demo", "entity": "team"}
    assert launcher.launch_sweep("s", specs, **where).added == 3
    told = [" ".join(arguments) for arguments, _ in calls.made]
    assert [text.partition("--entry-point ")[2] for text in told] == [
        f"python train.py --git-hash {first} git {remote}",
        f"python other.py --git-hash {first} git {remote}",
    ]
    one, same, other = documents(away)
    assert one["job"] == same["job"] != other["job"]
    assert other["overrides"]["entry_point"] == ["python", "other.py", "a b"]
    (version,) = [job for job in away.store.jobs() if job.reference == one["job"]]
    assert (version.kind, version.source["git"]["repo"], version.source["git"]["version"]) == ("git", remote, first)


def test_an_image_is_built_pushed_and_queued_as_a_job(
    calls: Calls, away: Served, code: Path, docker: Docker, registry: Registry
) -> None:
    commit(code, "FROM box:1\nCOPY . /code\n", "Dockerfile.launcher")
    target = f"{registry.address}/team/away"
    specs = [{"name": name} for name in ("a", "b")]
    where = {"uri": str(code), "queue_name": "images", "project": "demo", "entity": "team", "entry_point": COMMAND}
    assert launcher.launch_sweep("s", specs, build=True, repository=target, **where).added == 2
    ((arguments, _),) = calls.made
    assert (arguments[-2], arguments[-1].rpartition(":")[0]) == ("image", target)
    docker.run("rmi", arguments[-1])
    docker.run("pull", arguments[-1])
    for document in documents(away):
        (job,) = [each for each in away.store.jobs() if each.reference == document["job"]]
        assert job.source["docker"] == {"docker_image": arguments[-1]}


def test_what_the_command_line_says_reaches_the_user_and_nothing_is_queued(
    calls: Calls, away: Served, remote: str
) -> None:
    with pytest.raises(LaunchError, match=f"wandb job create made no job of {remote}") as error:
        add(uri=remote, entry_point=["python", "../train.py"])
    assert "Entrypoint cannot contain backward path traversal" in str(error.value)
    assert len(calls.made) == 1
    assert documents(away) == []


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No command line of W&B's anywhere, but git."""
    programs = tmp_path / "only-git"
    programs.mkdir()
    (programs / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr("launcher.queues.wandb.jobs.sys.executable", str(programs / "python"))


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("build", [False, True])
def test_without_the_command_line_one_error_says_what_is_missing(build: bool, away: Served, code: Path) -> None:
    specs = [{"name": str(number)} for number in range(3)]
    where = {"uri": str(code), "queue_name": "images", "project": "demo", "entity": "team", "entry_point": COMMAND}
    with pytest.raises(LaunchError) as error:
        launcher.launch_sweep("s", specs, build=build, **where)
    told = str(error.value)
    assert told.count("wandb is not on PATH; pip install 'launcher[wandb]'") == 1
    assert "3 of 3" in told
    assert documents(away) == []


@pytest.mark.usefixtures("without")
def test_what_is_wrong_with_code_for_a_wandb_server_is_told_before_a_job_is_made(
    away: Served, code: Path, tmp_path: Path
) -> None:
    with pytest.raises(LaunchError, match="in_place: means nothing to W&B's agents") as error:
        add(uri=str(code), entry_point=None, config={"git": {"in_place": True}})
    assert "entry_point: missing" in str(error.value)
    (tmp_path / "plain").mkdir()
    with pytest.raises(LaunchError, match="is in no git commit"):
        add(uri=str(tmp_path / "plain"))
    assert documents(away) == []


def test_a_plan_makes_no_job(calls: Calls, away: Served, project: Project) -> None:
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    commit(project.folder, "first")
    command = ["plan", "-m", "lr=1,2", "--queue", "images", "--store", f"wandb+{away.url}", "--", *COMMAND]
    done = project.run(*command)
    assert (done.code, calls.made) == (0, []), done.err
    assert shlex.join(COMMAND) in done.out
