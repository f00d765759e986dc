"""Disks that are full for real (a small tmpfs): what cannot be written is told once, nothing is half written, and
everything goes on when there is room again."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from launcher.errors import StoreFullError
from launcher.item import TERMINAL, Item, ItemFilter, RunState, Sweep
from launcher.outcome import Finished
from launcher.queues import Store, open_store, staging
from tests.conftest import Project, Result, needs, until
from tests.queues.steps import agent, spec
from tests.services import Postgres

Cli = Callable[..., Result]
EVERYTHING = ItemFilter()
BLOCK = 4096
FULL_SECONDS = 3.0


class Disk:
    """A small disk of its own, which can be filled to its last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def fill(self, but: int = 0) -> None:
        with self._filling.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * BLOCK)
        if but:
            os.truncate(self._filling, self._filling.stat().st_size - but)

    def clear(self) -> None:
        self._filling.unlink()


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Disk]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    needs("tmpfs", done.returncode == 0, f"it cannot be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", "2m") as made:
        yield made


@pytest.fixture
def url(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store on the small disk, which every command uses."""
    made = f"sqlite:///{disk.folder}/store/store.db"
    monkeypatch.setenv("LAUNCHER_STORE", made)
    return made


def items(url: str, *states: RunState) -> list[Item]:
    store = open_store(url)
    try:
        return list(store.items(ItemFilter(states=frozenset(states or RunState))))
    finally:
        store.close()


def assert_full(told: Result, folder: Path | str) -> None:
    assert told.code == 1
    assert told.out == ""
    [line] = told.err.splitlines()
    assert "its disk is full" in line
    assert f"free space in {folder}/store, or name another --store" in line


ADD = ("add", "--sweep", "s", "-m", "seed=range(200)", "--", "true")


def test_adding_to_a_full_disk_is_one_error_and_works_when_there_is_room(cli: Cli, disk: Disk, url: str) -> None:
    assert cli("add", "--sweep", "before", "--", "true").code == 0
    disk.fill()
    assert_full(cli(*ADD), disk.folder)
    assert_full(cli("cancel", "before"), disk.folder)
    disk.clear()
    assert [item.sweep for item in items(url)] == ["before"]
    assert "all is well" in cli("store", "check").out
    assert "200 added" in cli(*ADD).out
    assert "all is well" in cli("store", "check").out


def test_a_store_that_cannot_even_be_made_is_made_later(cli: Cli, disk: Disk, url: str) -> None:
    disk.fill()
    assert_full(cli(*ADD), disk.folder)
    disk.clear()
    assert "200 added" in cli(*ADD).out


@pytest.mark.parametrize("room", [n * BLOCK for n in (1, 8, 9, 12, 20, 30, 40)])
def test_a_disk_that_fills_up_in_the_middle_leaves_all_or_nothing(cli: Cli, disk: Disk, url: str, room: int) -> None:
    store = open_store(url)  # held open, as by an agent: what lies beside the file has its place already
    store.push(Sweep("before"), [spec(0)])
    disk.fill(but=room)
    with pytest.raises(StoreFullError):
        store.push(Sweep("s"), [spec(seed, own=f"{seed}" * 100) for seed in range(2000)])
    assert [item.sweep for item in store.items(EVERYTHING)] == ["before"]
    assert [sweep.name for sweep in store.sweeps()] == ["before"]
    assert store.check() == []
    disk.clear()
    assert store.push(Sweep("s"), [spec(seed) for seed in range(200)]).added == 200
    assert store.check() == []
    store.close()


def test_a_push_that_finds_no_room_to_be_gathered_is_one_error(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
    monkeypatch.setattr(staging, "IN_MEMORY", 1)
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    with pytest.raises(StoreFullError, match=rf"gathered in {disk.folder}: No space left on device, nothing was added"):
        store.push(Sweep("s"), (spec(seed, own=f"{seed}" * 100) for seed in range(10_000)))
    assert list(store.items(EVERYTHING)) == store.sweeps() == list(disk.folder.iterdir()) == []
    assert store.push(Sweep("s"), [spec(seed) for seed in range(200)]).added == 200
    store.close()


def test_a_backup_to_a_full_disk_leaves_nothing_there(cli: Cli, disk: Disk, project: Project) -> None:
    assert cli(*ADD).code == 0  # into the project's own store, on a disk with room
    disk.fill()
    told = cli("store", "backup", str(disk.folder / "copy.db"))
    assert told.code == 1
    assert f"{disk.folder}/copy.db cannot be written: " in told.err
    assert [path.name for path in disk.folder.iterdir()] == ["filling"]
    disk.clear()
    assert cli("store", "backup", str(disk.folder / "copy.db")).code == 0


def test_gc_makes_room_on_a_full_disk(cli: Cli, disk: Disk, url: str, project: Project) -> None:
    project.write("program.py", "print('x' * 100_000)")
    cli("add", "--sweep", "old", "-m", "seed=range(5)", "--", "python", "program.py")
    assert cli("agent", "--drain", "-j", "2").code == 0
    disk.fill()
    assert_full(cli(*ADD), disk.folder)
    assert "5 folders removed (50" in cli("gc", "--older-than", "0s").out
    assert "200 added" in cli(*ADD).out


def test_a_postgres_server_whose_disk_is_full_is_told_as_such(postgres: Postgres) -> None:
    with mounted(postgres.folder / "small", "16m") as disk:
        if postgres.user:
            os.chown(disk.folder, pwd.getpwnam(postgres.user).pw_uid, -1)
        postgres.sql("postgres", f"CREATE TABLESPACE small LOCATION '{disk.folder}'")
        postgres.sql("postgres", "CREATE DATABASE small TABLESPACE small")
        store: Store = open_store(postgres.url("small"))
        try:
            disk.fill()
            specs = [spec(seed, own=f"{seed}" * 100) for seed in range(3000)]
            with pytest.raises(StoreFullError, match="the server's disk is full"):
                store.push(Sweep("s"), specs)
            disk.clear()  # before anything is read: the server may have to write out a page to read another one
            assert list(store.items(EVERYTHING)) == []
            assert store.check() == []
            assert store.push(Sweep("s"), specs).added == 3000
            store.register(agent("a"))
            [lease] = store.pop("a", ["default"], 1)
            store.ack([(lease, {"pid": 1}, "/runs/x")])
            assert store.finish([(lease, Finished())]) == [True]
        finally:
            store.close()
            postgres.sql("postgres", "DROP DATABASE small (FORCE)")
            postgres.sql("postgres", "DROP TABLESPACE small")


# -- agents ---------------------------------------------------------------------------------------------------------


AGENT = """
import sys
from pathlib import Path
from launcher.agent import Agent
from launcher.queues import open_store
Agent(open_store(sys.argv[1]), Path(sys.argv[2]), drain=True, lease_seconds=1.0,
      listen=lambda event: print(event.kind, event.text, flush=True)).run()
"""


def start_agent(url: str, folder: Path) -> subprocess.Popen[str]:
    """An agent whose heart beats three times a second, so that it writes often."""
    return subprocess.Popen([sys.executable, "-c", AGENT, url, str(folder)], text=True, stdout=subprocess.PIPE)


def endings(url: str) -> list[int]:
    store = open_store(url)
    try:
        return [sum(e.after in TERMINAL for e in store.events(item.id)) for item in store.items(EVERYTHING)]
    finally:
        store.close()


def test_an_agent_whose_store_is_full_waits_and_goes_on(disk: Disk, url: str, project: Project) -> None:
    project.write("program.py", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n")
    project.run("add", "-m", "seed=range(3)", "--", "python", "program.py")
    worker = start_agent(url, project.folder / "agent")
    assert worker.stdout is not None
    until(lambda: items(url, RunState.RUNNING))
    disk.fill()
    project.write("go", "")
    lines = [""]
    while "disk is full" not in lines[-1]:
        lines.append(worker.stdout.readline())
        assert lines[-1], lines
    full_until = time.monotonic() + FULL_SECONDS  # long enough for several tries
    until(lambda: time.monotonic() > full_until)
    assert worker.poll() is None
    disk.clear()
    out, _ = worker.communicate(timeout=60)
    told = [line for line in "".join([*lines, out]).splitlines() if "disk is full" in line]
    assert worker.returncode == 0
    assert {item.state for item in items(url)} == {RunState.FINISHED}
    assert {item.attempt for item in items(url)} == {1}
    assert endings(url) == [1, 1, 1]
    assert len(told) == 1, told


def test_an_agent_whose_run_folders_are_full_gives_back_and_waits(disk: Disk, project: Project) -> None:
    url = project.store_url
    project.run("add", "-m", "seed=range(3)", "--", "true")
    disk.fill()
    worker = project.start("agent", "--drain", "--dir", str(disk.folder / "agent"))
    assert worker.stdout is not None
    line = worker.stdout.readline()
    try:
        assert "disk is full" in line
        assert worker.poll() is None
        until(lambda: len(items(url, RunState.PENDING)) == 3, "all items given back")
        disk.clear()
    finally:
        out, err = worker.communicate(timeout=60)
    assert (worker.returncode, err) == (0, "")
    assert {item.state for item in items(url)} == {RunState.FINISHED}
    assert "nothing is taken" not in out, "it says so once"
    assert sorted(item.attempt for item in items(url)) in ([1, 1, 1], [1, 1, 2]), "it takes nothing while it waits"


def test_an_agent_whose_folder_cannot_be_written_gives_back_and_waits(disk: Disk, project: Project) -> None:
    project.run("add", "--", "true")
    folder = str(disk.folder)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    worker = project.start("agent", "--drain", "--dir", f"{folder}/agent")
    assert worker.stdout is not None
    try:
        assert "cannot be written: Read-only file system; nothing is taken until it can" in worker.stdout.readline()
        until(lambda: items(project.store_url, RunState.PENDING), "the item given back")
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    finally:
        out, _ = worker.communicate(timeout=60)
    assert "can be written again" in out
    [item] = items(project.store_url)
    assert item.state is RunState.FINISHED
