"""`make soak`: thousands of short runs while agents come and go, and one stays; what that one and its keeper take must
stay flat: memory, open files, threads, and the server's connections. A 20-second form of it is a test."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from launcher.item import RunState
from launcher.queues.postgres_server import CONNECTIONS
from tests.chaos import faults, table
from tests.chaos.harness import Verdict, World, world

SECONDS = 600.0
"""For both stores together."""

HEAD = (
    "| store | minutes | runs | agents | memory | open files | threads | connections |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the agent and its keeper take at a moment. `memory`: MB of resident pages of their own; `connections`: of
    the server, all agents and adders included."""

    memory: float
    files: int
    threads: int
    connections: int


@dataclass(frozen=True, slots=True)
class Soaked:
    """How a soak went: samples of its first and last part, the runs and the agents that there were."""

    store: str
    seconds: float
    runs: int
    agents: int
    first: Sample
    last: Sample
    verdict: Verdict

    @property
    def flat(self) -> bool:
        """Whether memory grew by less than a tenth, or 2 MB, and nothing else by more than a pool's connections, which
        are opened when they are first needed: far less than a leak of one a run would show."""
        grown = self.last.memory - self.first.memory
        others = zip(astuple(self.first)[1:], astuple(self.last)[1:], strict=True)
        return grown <= max(2.0, self.first.memory / 10) and all(last <= first + CONNECTIONS for first, last in others)

    def row(self) -> str:
        pairs = zip(astuple(self.first), astuple(self.last), ("{:.1f} MB", "{}", "{}", "{}"), strict=True)
        grown = [f"{form.format(first)} → {form.format(last)}" for first, last, form in pairs]
        cells = (self.store, f"{self.seconds / 60:.1f}", f"{self.runs:,}", str(self.agents), *grown)
        return f"| {' | '.join(cells)} |"


def soak(store: str, folder: Path, seconds: float) -> tuple[Soaked, list[str]]:
    """Keep a world busy for so long; its resident agent is looked at ten times a second."""
    with world(store, folder, long=True, seconds=0.0, settings=("fsync=off",)) as made:
        resident = made.agent()
        made.name(resident)
        passing: subprocess.Popen[bytes] | None = None
        samples: list[Sample] = []
        until = time.monotonic() + seconds
        changes = time.monotonic() + min(seconds / 4, 10.0)
        batch = 0
        while time.monotonic() < until:
            if made.count(RunState.PENDING) < 20:
                made.add(40, f"batch-{batch}")
                batch += 1
            if time.monotonic() > changes:
                passing = _replace(made, passing)
                changes = time.monotonic() + min(seconds / 4, 10.0)
            samples.append(_sample(made, resident))
            time.sleep(0.1)
        verdict = made.finish()
        part = max(1, len(samples) // 5)
        soaked = Soaked(
            store, seconds, made.count(RunState.FINISHED), len(made.agents), _middle(samples[part : 2 * part]),
            _middle(samples[-part:]), verdict,
        )  # fmt: skip
        return soaked, made.notes


def _replace(made: World, passing: subprocess.Popen[bytes] | None) -> subprocess.Popen[bytes]:
    """The agent that was passing by goes, every other time without a word; another comes."""
    if passing and len(made.agents) % 2:
        faults.kill(passing)
    elif passing:
        passing.terminate()
    return made.agent()


def _sample(made: World, resident: subprocess.Popen[bytes]) -> Sample:
    pids = [resident.pid, *_children(resident.pid)]
    count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    connections = int(str(made.server.sql("postgres", count)[0][0])) if made.server else 0
    return Sample(
        sum(_private(pid) for pid in pids), len(list(Path(f"/proc/{resident.pid}/fd").iterdir())),
        len(list(Path(f"/proc/{resident.pid}/task").iterdir())), connections,
    )  # fmt: skip


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def _private(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _middle(samples: Sequence[Sample]) -> Sample:
    """Medians: an agent that comes or goes has its own connections for a moment."""
    columns = list(zip(*map(astuple, samples), strict=True))
    return Sample(statistics.median(columns[0]), *(round(statistics.median_low(column)) for column in columns[1:]))


def main() -> None:
    seconds = float(sys.argv[1]) if sys.argv[1:] else SECONDS
    rows = []
    good = True
    for store in ("sqlite", "postgres"):
        soaked, notes = soak(store, Path(tempfile.mkdtemp(prefix=f"soak-{store}-")) / "world", seconds / 2)
        print(soaked.row(), soaked.verdict, *notes[:20], sep="\n    ", flush=True)
        rows.append(f"{soaked.row()}\n")
        good = good and soaked.flat and not notes
    table.put("soak", HEAD + "".join(rows))
    sys.exit(not good)


if __name__ == "__main__":
    main()
