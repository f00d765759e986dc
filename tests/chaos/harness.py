"""A small world to break: a store, agents, adders, and a program whose runs keep a ledger. When all is over, a
`Verdict` says what was lost, doubled, stale or left behind; scenarios (`tests.chaos.scenarios`) play in it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from launcher.errors import StoreError
from launcher.item import HELD, TERMINAL, Event, Item, ItemFilter, RunState
from launcher.queues import Store, open_store
from tests.chaos import adder, faults
from tests.services import Postgres, postgres_programs

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 300.0
OPEN = (RunState.PENDING, *HELD)

PROGRAM = """\
# Each run tells the ledger of its beginning and its end, and whether another run of its item is there beside it.
tell() { echo "$WANDB_RUN_ID $LAUNCHER_ATTEMPT $LAUNCHER_LEASE_TOKEN $1" >> "$CHAOS_LEDGER"; }
mark=$CHAOS_PIDS/$WANDB_RUN_ID
{ read -r pid < "$mark" && read -r _ _ state _ < "/proc/$pid/stat" && [ "$state" != Z ] && tell beside; } 2>/dev/null
echo $$ > "$mark"
tell start
sleep "$CHAOS_SECONDS"
echo "{\\"attempt\\": $LAUNCHER_ATTEMPT}" > "$LAUNCHER_RESULT" || exit 1
tell end
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scenario did to its items. All but the last are to be 0.

    `lost`: added and acknowledged, but not in the store, never ended, or not ended as their program did. `doubled`:
    ended twice without a retry between, in the store twice, run twice with one lease, or run by two processes of one
    machine at once. `stale`: with the result of an attempt that was not their last. `orphans`: processes left behind.
    `recovery_seconds`: the longest time from a fault to the next progress of what it hit.
    """

    items: int
    faults: int
    lost: int
    doubled: int
    stale: int
    orphans: int
    recovery_seconds: float
    lease_seconds: float

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong, and the recovery took at most two leases."""
        return not (self.lost or self.doubled or self.stale or self.orphans) and (
            self.recovery_seconds <= 2 * self.lease_seconds
        )


@dataclass
class World:
    """One scenario's own folder, store and processes. `seconds`: how long each run takes. `long`: the long form."""

    folder: Path
    url: str
    server: Postgres | None = None
    long: bool = False
    lease_seconds: float = 1.5
    seconds: float = 0.05
    acknowledged: dict[str, int] = field(default_factory=dict)
    faults: int = 0
    recoveries: list[float] = field(default_factory=list)
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.code = self.folder / "code"
        self.ledger = self.folder / "ledger"
        self.root = self.folder / "disk/agents"
        for path in (self.code, self.root):
            path.mkdir(parents=True)
        (self.code / "program.sh").write_text(PROGRAM, encoding="utf-8")
        self.ledger.touch()
        self.store: Store = self.ask(lambda: open_store(self.url))

    # -- who acts in it -------------------------------------------------------------------------------------------

    def add(self, number: int, sweep: str = "items") -> None:
        adder.add(self.store, str(self.code), sweep, number)
        self.acknowledged[sweep] = number

    def adder(self, sweep: str, *how: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.chaos.adder", self.url, str(self.code), sweep, *how]
        return subprocess.Popen(
            command, cwd=REPOSITORY, text=True, env=self._environment(""), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def agent(self, machine: str = "", *, jobs: int = 2, dies: str = "") -> subprocess.Popen[bytes]:
        root = self.root / machine
        command = [sys.executable, "-m", "tests.chaos.agent", self.url, str(root), str(self.lease_seconds), str(jobs)]
        with (self.folder / f"agent-{len(self.agents)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=REPOSITORY, env=self._environment(machine) | {"CHAOS_DIES": dies}, stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.agents.append(process)
        return process

    def _environment(self, machine: str) -> dict[str, str]:
        pids = self.folder / f"pids{machine}"
        pids.mkdir(exist_ok=True)
        own = {
            "CHAOS_FOLDER": str(self.folder), "CHAOS_LEDGER": str(self.ledger), "CHAOS_PIDS": str(pids),
            "CHAOS_SECONDS": str(self.seconds), "CHAOS_MACHINE": machine,
        }  # fmt: skip
        return {**os.environ, **own}

    # -- what can be seen -----------------------------------------------------------------------------------------

    def ask(self, question: Callable[[], T]) -> T:
        """The answer of a store that may be out of reach for a while."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return question()
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def wait(self, condition: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
        deadline = time.monotonic() + seconds
        while not (found := self.ask(condition)):
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s, see {self.folder}"
            time.sleep(0.01)
        return found

    def items(self, *states: RunState) -> list[Item]:
        return self.ask(lambda: list(self.store.items(ItemFilter(states=frozenset(states) if states else None))))

    def count(self, *states: RunState) -> int:
        return sum(count.number for count in self.ask(self.store.counts) if count.state in states)

    def name(self, agent: subprocess.Popen[bytes]) -> str:
        """The ID of the agent in a process, once it has begun: the first word that it logs."""
        log = self.folder / f"agent-{self.agents.index(agent)}.log"
        return self.wait(lambda: log.read_text(encoding="utf-8").partition("\n")[0], "the agent's beginning")

    def held_by(self, agent: str) -> list[Item]:
        return [item for item in self.items(*HELD) if item.agent == agent]

    def runs(self, *, by: str = "") -> None:
        """Wait until something runs, at this agent; there is always more to do."""

        def running() -> list[Item]:
            if self.count(RunState.PENDING) < 20:
                self.add(50, f"more-{len(self.acknowledged)}")
            return [item for item in self.items(RunState.RUNNING) if item.agent == (by or item.agent)]

        self.wait(running, "a run")

    def can_write(self) -> bool:
        """Whether no process that stands still holds a lock: SQLite's, or one of PostgreSQL's, which it ends later."""
        if self.server:
            time.sleep(0.2)
            stalled = (
                "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND now() - state_change > '0.1 s'"
            )
            return not self.server.sql("postgres", stalled)
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=1.0, isolation_level=None)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            db.execute("ROLLBACK")
        return True

    def progresses(self) -> None:
        """A fault is over now: wait until the next item finishes, and note how long that takes."""
        began = time.monotonic()
        before = self.count(RunState.FINISHED)
        self.wait(lambda: self.count(RunState.FINISHED) > before or not self.count(*OPEN), "the next finished item")
        self._note(began)

    def lets_go(self, agent: str) -> None:
        """An agent is gone now: wait until what it held goes back or goes on, and note how long that takes."""
        began = time.monotonic()
        self.wait(lambda: not self.held_by(agent), "what a lost agent held")
        self._note(began)

    def _note(self, began: float) -> None:
        self.faults += 1
        self.recoveries.append(time.monotonic() - began)

    # -- the end --------------------------------------------------------------------------------------------------

    def finish(self) -> Verdict:
        """Wait until every item has ended, let the agents go, and look at what is left."""
        with suppress(AssertionError):  # what has not ended is lost
            self.wait(lambda: not self.count(*OPEN), "the end of all items", PATIENCE_SECONDS if self.long else 60)
        for agent in self.agents:
            agent.send_signal(signal.SIGCONT)
            agent.terminate()
        for agent in self.agents:
            with suppress(subprocess.TimeoutExpired):
                agent.wait(60)
        with suppress(AssertionError):
            self.wait(lambda: not self.processes(), "the end of all processes", 10.0)
        return self.verdict()

    def verdict(self) -> Verdict:
        items = self.items()
        events = {item.id: self.ask(lambda item=item: self.store.events(item.id)) for item in items}
        orphans = self.processes()
        doubled = self._doubled(items, events)
        lost = self._lost(items)
        stale = [
            f"{item.id}: attempt {item.attempt}, {item.result}" for item in items
            if item.state is RunState.FINISHED and (item.result or {}).get("attempt") != item.attempt
        ]  # fmt: skip
        told = (("lost", lost), ("doubled", doubled), ("stale", stale), ("orphan", orphans))
        self.notes += [f"{name}: {entry}" for name, entries in told for entry in entries]
        return Verdict(
            len(items), self.faults, len(lost), len(doubled), len(stale), len(orphans),
            max(self.recoveries, default=0.0), self.lease_seconds,
        )  # fmt: skip

    def _lost(self, items: list[Item]) -> list[str]:
        there = Counter(item.sweep for item in items)
        missing = [
            f"{sweep}: {there[sweep]} of {number} in the store"
            for sweep, number in self.acknowledged.items() if there[sweep] < number
        ]  # fmt: skip
        return missing + [
            f"{item.id} ({item.sweep}) is {item.state.value}: {item.stage}: {item.reason}" for item in items
            if item.state is not RunState.FINISHED and not _cancelled(item)
        ]  # fmt: skip

    def _doubled(self, items: list[Item], events: dict[str, list[Event]]) -> list[str]:
        points = Counter((item.sweep, item.point) for item in items)
        twice = [f"{point} is there {number} times" for point, number in points.items() if number > 1]
        twice += [f"{item} ended twice" for item, told in events.items() if _ends(told) > 1]
        lines: dict[str, list[str]] = defaultdict(list)
        for line in self.ledger.read_text(encoding="utf-8").splitlines():
            item, attempt, token, what = line.split()
            lines[token].append(what)
            if what == "beside":
                twice.append(f"{item}: attempt {attempt} ran beside another")
        again = {token: told for token, told in lines.items() if max(told.count("start"), told.count("end")) > 1}
        return twice + [f"lease {token}: {told}" for token, told in again.items()]

    def processes(self) -> list[str]:
        """Whatever this world's agents and their runs left behind."""
        mark = f"CHAOS_FOLDER={self.folder}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(f"{entry.name} {(entry / 'cmdline').read_bytes().decode()!r}")
        return found

    def close(self) -> None:
        """End what is still there, whatever happened."""
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(int(process.split()[0]), signal.SIGKILL)
        for agent in self.agents:
            agent.wait()
        self.store.close()


def _cancelled(item: Item) -> bool:
    return item.state is RunState.CANCELLED and (item.sweep or "").startswith("busy")


def _ends(events: list[Event]) -> int:
    """How often an item ended since it was last given back to its queue by a retry."""
    ends = most = 0
    for event in events:
        if event.before in TERMINAL:
            ends = 0
        ends += event.after in TERMINAL
        most = max(most, ends)
    return most


@contextmanager
def world(
    kind: str, folder: Path, *, long: bool, settings: tuple[str, ...] = (), disk: str = "", **options: Any
) -> Iterator[World]:
    """A world with a store of its own: an SQLite file, or a PostgreSQL server that writes durably. `disk`: the size of
    a file system of its own for the agents' files, and for an SQLite store."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if disk:
            stack.enter_context(faults.small_disk(folder / "disk", disk))
        server = None
        if kind == "postgres":
            programs = postgres_programs()
            assert programs, "PostgreSQL is not installed (make services)"
            server = Postgres(programs, *settings)
            stack.callback(server.close)
        url = server.database() if server else f"sqlite:///{folder}/disk/store.db"
        made = World(folder, url, server, long, **options)
        stack.callback(made.close)
        yield made
