"""Real services for the tests, each started by them, for them alone, and ended with them."""

from __future__ import annotations

import io
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""For tests of behaviour, not of durability."""


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's server programs, from Debian's package or on PATH."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    found = packaged[-1] if packaged else Path(on_path).resolve() if on_path else None
    return found.parent if found else None


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Postgres:
    """A PostgreSQL server on a free port of loopback, its files in a folder of its own."""

    def __init__(self, programs: Path, *settings: str) -> None:
        self._programs = programs
        self._settings = settings
        self._numbers = itertools.count(1)
        self.folder = Path(tempfile.mkdtemp(prefix="launcher-postgres-"))
        self.user = self._unprivileged()
        self.port = free_port()
        self._run("initdb", "-D", f"{self.folder}/data", "-A", "trust", "-U", "launcher", "-E", "UTF8", "--locale=C")
        self.start()

    def _unprivileged(self) -> str | None:
        """The server refuses to run as root; Debian's package brings a user for it."""
        if os.geteuid():
            return None
        user = pwd.getpwnam("postgres")
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        return user.pw_name

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command,
            user=self.user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)

    def start(self) -> None:
        options = [f"-c {setting}" for setting in self._settings]
        options += [f"-p {self.port}", "-c listen_addresses=127.0.0.1", f"-k {self.folder}", "-c shared_buffers=32MB"]
        self._run(
            "pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", " ".join(options), "start"
        )

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is a crash: nothing is written down before."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """As `kill -9` of the server itself; its children notice, and end."""
        pid = int((self.folder / "data/postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)

    def sql(self, database: str, text: str) -> list[tuple[object, ...]]:
        """Run a statement as the server's owner."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as db:
            done = db.execute(text)
            return done.fetchall() if done.description else []

    def url(self, database: str) -> str:
        return f"postgresql://launcher@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The URL of a new database."""
        name = f"test{next(self._numbers)}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def close(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)


def docker_missing() -> str | None:
    """Why no Docker can be started here; None when it can."""
    if os.geteuid():
        return "its daemon is started by root only"
    missing = [program for program in ("dockerd", "docker", "busybox") if not shutil.which(program)]
    return f"{', '.join(missing)} not installed (make services)" if missing else None


class Docker:
    """A Docker daemon with its files, its socket and its containers' state in a folder of its own. It has no network,
    so images are made here, of busybox."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="launcher-docker-"))
        self.url = f"unix://{self.folder}/socket"
        self._environment = {**os.environ, "DOCKER_HOST": self.url, "DOCKER_CONFIG": f"{self.folder}/client"}
        self._daemon: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [
            "dockerd", f"--data-root={self.folder}/data", f"--exec-root={self.folder}/run",
            f"--pidfile={self.folder}/pid", f"--host={self.url}", "--bridge=none", "--iptables=false",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while self.ask("version").returncode:
            assert self._daemon.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def ask(self, *arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        command = ["docker", *arguments]
        return subprocess.run(command, input=given, capture_output=True, check=False, env=self._environment)

    def run(self, *arguments: str, given: bytes | None = None) -> str:
        """What the client prints."""
        done = self.ask(*arguments, given=given)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout.decode()

    def image(self, name: str, *changes: str, shell: bool = True) -> str:
        """An image of busybox, or without `shell` of a program `/echo` that needs none; returns its ID."""
        files = io.BytesIO()
        with tarfile.open(fileobj=files, mode="w") as tree:
            busybox = str(shutil.which("busybox"))
            applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
            tree.add(busybox, "bin/busybox" if shell else "echo")
            for applet in applets if shell else ():
                if applet != "busybox":
                    link = tarfile.TarInfo(f"bin/{applet}")
                    link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                    tree.addfile(link)
        options = [option for change in ("ENV PATH=/bin", *changes) for option in ("--change", change)]
        return self.run("import", *options, "-", name, given=files.getvalue()).strip()

    def containers(self) -> list[str]:
        """The IDs of all there are, running or not."""
        return self.run("ps", "--all", "--quiet", "--no-trunc").split()

    def close(self) -> None:
        if found := self.containers():
            self.run("rm", "--force", *found)
        assert self._daemon
        self._daemon.terminate()
        self._daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Registry:
    """A registry of images on a free port of loopback."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="launcher-registry-"))
        self.address = f"127.0.0.1:{free_port()}"
        config = self.folder / "config.yml"
        storage = f"{{filesystem: {{rootdirectory: {self.folder}/data}}}}"
        config.write_text(f"version: 0.1\nstorage: {storage}\nhttp: {{addr: {self.address}}}\n")
        with (self.folder / "log").open("wb") as log:
            self._server = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._server.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def _answers(self) -> bool:
        host, port = self.address.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()
        shutil.rmtree(self.folder)
