"""Real services for the tests, each started by them, for them alone, and ended with them."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""For tests of behaviour, not of durability."""


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's server programs, from Debian's package or on PATH."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    found = packaged[-1] if packaged else Path(on_path).resolve() if on_path else None
    return found.parent if found else None


class Postgres:
    """A PostgreSQL server on a free port of loopback, its files in a folder of its own."""

    def __init__(self, programs: Path, *settings: str) -> None:
        self._programs = programs
        self._settings = settings
        self._numbers = itertools.count(1)
        self.folder = Path(tempfile.mkdtemp(prefix="launcher-postgres-"))
        self.user = self._unprivileged()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
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
