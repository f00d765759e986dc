"""What goes wrong, each as a small function: processes that are killed or stopped, servers that vanish, disks that are
full. Scenarios (`tests.chaos.scenarios`) choose among them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.services import Postgres

AT_FDCWD = -100
RENAME_EXCHANGE = 2
"""Two names of Linux (fcntl.h, renameat2(2))."""


def kill(process: subprocess.Popen[Any], *, reap: bool = True) -> None:
    """`kill -9`. Without `reap` it stays a zombie, as below a parent that does not care."""
    process.send_signal(signal.SIGKILL)
    if reap:
        process.wait()


@contextmanager
def stopped(process: subprocess.Popen[Any]) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def crash(server: Postgres, mode: str) -> None:
    """End a PostgreSQL server: `fast` and `immediate` as pg_ctl knows them, `kill` by SIGKILL."""
    if mode == "kill":
        server.kill()
    else:
        server.stop(mode)


def restart(server: Postgres) -> None:
    """Start it again; after SIGKILL its children may still hold its memory for a moment."""
    for _ in range(50):
        with suppress(AssertionError):
            server.start()
            return
        time.sleep(0.1)
    server.start()


def end_backends(server: Postgres) -> int:
    """End every connection but our own, as an administrator may; returns how many those were."""
    ended = server.sql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND pid <> pg_backend_pid()",
    )
    return len(ended)


@contextmanager
def exhausted(server: Postgres) -> Iterator[None]:
    """Others take every connection that the server allows, those of our agents included, and keep them."""
    import psycopg

    taken: list[psycopg.Connection[Any]] = []
    try:
        with psycopg.connect(server.url("postgres"), autocommit=True) as ours:
            for _ in range(3):
                _take_all(server, taken)
                ours.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
                    "AND datname <> 'postgres'"
                )
            _take_all(server, taken)
        _take_all(server, taken)
        yield
    finally:
        for connection in taken:
            connection.close()


def _take_all(server: Postgres, taken: list[Any]) -> None:
    import psycopg

    with suppress(psycopg.OperationalError):
        while True:
            taken.append(psycopg.connect(server.url("postgres")))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of this size, in memory, at `folder`; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """A file takes all that is left on the disk of `folder`."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            _fill(file)
        yield
    finally:
        ballast.unlink()


def _fill(file: Any) -> None:
    for size in (1 << 16, 1 << 10, 1):
        with suppress(OSError):
            while True:
                file.write(bytes(size))


@contextmanager
def blocked(folder: Path) -> Iterator[None]:
    """A file takes the place of `folder`, so that not even root can write below it; from one moment to the next."""
    away = folder.with_name(f"{folder.name}.away")
    away.touch()
    _exchange(folder, away)
    try:
        yield
    finally:
        _exchange(folder, away)
        away.unlink()


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), f"{one} and {other} cannot change places")
