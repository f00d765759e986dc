"""What the runners of engines share: the request that a node reads, what an engine can say of a job, and how that and
the run's own word, left by `launcher.runners.node`, become one outcome. An engine may lose, forget or misreport a job;
then its run is lost, never finished."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from launcher.errors import RunnerError
from launcher.item import Lease
from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted, Ran
from launcher.paths import RunPaths
from launcher.policy import timeout
from launcher.runners import Request
from launcher.runners.environment import command, references, run_environment
from launcher.runners.node import OUTCOME, REQUEST, STOP
from launcher.runners.verdict import GRACE_SECONDS, ended, judge, last_line, stopped, why_not

MISSING_SECONDS = 60.0
"""How long a file that a node has written may take to show here, on a file system of many machines."""

FORWARDED = ("TRACEPARENT", "TRACESTATE")
"""What differs from run to run in the environment that the agent gives."""


class Word(Enum):
    """What an engine says of a job, whatever it calls that."""

    GOES_ON = "goes on"
    """It waits, runs, ends just now, or will be started again. What nobody knows goes on, too."""

    ENDED = "ended"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    PREEMPTED = "preempted"
    BROKEN = "broken"
    """Its node failed."""

    GONE = "gone"
    """The engine knows of no such job (any more)."""


@dataclass(frozen=True, slots=True)
class Said:
    """An engine's word on a job, in its own spelling, and why, where it says."""

    word: Word
    native: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EngineRequest(Request):
    """A run that an engine executes elsewhere; in its folder it is written down while somebody wants it."""

    def document(self) -> dict[str, Any]:
        """What is written down."""
        return {"argv": list(self.argv), "token": self.token}

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.log).parent


@dataclass(frozen=True, slots=True)
class NodeRequest(EngineRequest):
    """A run that a node executes. `env` holds texts, `references` those that the node fills from its environment, which
    is `environ` handed on by the engine: no secret is in any file."""

    references: Mapping[str, str]
    needed: tuple[str, ...]
    timeout: float | None
    environ: Mapping[str, str] = field(repr=False)

    def document(self) -> dict[str, Any]:
        """What the node reads."""
        return {
            "argv": list(self.argv), "env": dict(self.env), "references": dict(self.references),
            "needed": list(self.needed), "cwd": self.cwd, "log": self.log, "token": self.token,
            "timeout": self.timeout, "grace": GRACE_SECONDS,
        }  # fmt: skip


def grace_seconds() -> float:
    """How long an engine shall leave a run that is being stopped."""
    return GRACE_SECONDS


def node_request(
    lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str], given: Mapping[str, Any]
) -> NodeRequest:
    """The request of a lease, `given` being the arguments of its resource. RunnerError for what no node can run."""
    if lease.document.get("docker", {}).get("docker_image"):
        raise RunnerError(
            f"{lease.document.get('resource')} runs the commands of nodes, no docker_image; start it in the command "
            "(apptainer exec …), or use the resource local-container",
            "prepare",
        )
    argv = command(lease, paths)
    if not argv:
        raise RunnerError("the spec has no entry_point, so there is nothing to start", "prepare")
    own, needed = references(lease, environ, given.get("env") or {})
    told = {name: environ[name] for name in FORWARDED if name in environ} | run_environment(lease, paths)
    own = {name: text for name, text in own.items() if name not in told}
    cwd = os.path.join(code, lease.document.get("overrides", {}).get("working_dir") or "")  # noqa: PTH118 - pure text
    return NodeRequest(
        tuple(argv), told, cwd, str(paths.log), lease.token, own, needed, timeout(lease.document, "run"), environ
    )


def write_request(request: EngineRequest) -> None:
    """Leave it where the node looks; from now on it may be started."""
    path = f"{os.path.dirname(request.log)}/{REQUEST}"  # noqa: PTH120 - pathlib costs as much as the file
    with open(f"{path}.partial", "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(request.document(), file)
    os.replace(f"{path}.partial", path)  # noqa: PTH105


def withdraw(folder: Path) -> None:
    """Whatever the engine starts later for this run does nothing."""
    with suppress(FileNotFoundError):
        (folder / REQUEST).unlink()


def ask_to_stop(folder: Path) -> None:
    """The node stops this run of several, or does not start it."""
    with suppress(OSError):
        (folder / STOP).touch()


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges runs of an engine with this `name`, which people know."""

    name: str

    def outcome(self, said: Said, token: str, folder: Path, stopping: bool, log: Path | None = None) -> Outcome | None:
        """How the run ended by both words; None while it goes on. `stopping`: we asked it to stop; `log`: where the
        engine itself writes."""
        paths = RunPaths(folder)
        own = _own_word(folder, token)
        if own and not own["stopped"]:
            return self._stopped(own, paths) if stopping else self._by_itself(own, said, paths)
        if said.word is Word.GOES_ON and not (own and (folder / STOP).exists()):
            return None
        if stopping:
            return self._stopped(own, paths)
        if not (folder / REQUEST).exists():
            return Lost("it was withdrawn, for nobody had its lease")
        outcome = self._by_word(own, said, paths, log)
        if isinstance(outcome, Lost):
            withdraw(folder)
        return outcome

    def _stopped(self, own: Mapping[str, Any] | None, paths: RunPaths) -> Cancelled:
        if not paths.log.exists():  # the node makes it
            return Cancelled("stopped before it was started")
        return stopped(own["exit_code"], paths, _ran(own)) if own else stopped(None, paths)

    def _by_itself(self, own: Mapping[str, Any], said: Said, paths: RunPaths) -> Outcome:
        if own["exit_code"] is None:
            told = own.get("why") or why_not(own["program"], own["cwd"], own["there"], None, own["errno"], own["error"])
            return Failed("submit", told)
        outcome = judge(own["exit_code"], paths, _ran(own))
        if isinstance(outcome, Failed):
            if own["timed_out"]:
                return replace(outcome, stage="timeout", reason=f"ran for longer than its timeout; {outcome.reason}")
            if said.word is Word.OUT_OF_MEMORY:
                return replace(outcome, reason=self._out_of_memory())
        return outcome

    def _by_word(  # noqa: PLR0911 - one row of the table each
        self, own: Mapping[str, Any] | None, said: Said, paths: RunPaths, log: Path | None
    ) -> Outcome | None:
        code = own["exit_code"] if own else None
        told = f"{self.name} says {said.native}" + (f" ({said.reason})" if said.reason else "")
        match said.word:
            case Word.GOES_ON | Word.CANCELLED:
                return Cancelled(f"{told}: somebody cancelled it there; it ended with {ended(code)}")
            case Word.TIMED_OUT:
                return Failed("timeout", f"{told}: it reached the time limit of its job; {ended(code)}", code)
            case Word.OUT_OF_MEMORY:
                return Failed("run", self._out_of_memory(), code)
            case Word.PREEMPTED:
                return Preempted(told)
            case Word.BROKEN:
                return Lost(f"{told}: its node failed")
        if own and code is not None:
            outcome = judge(code, paths, _ran(own))
            known = said.word is not Word.GONE or isinstance(outcome, Finished)
            return outcome if known else Lost(f"{self.name} does not know its job any more, which was stopped")
        if not _missed(paths.folder):
            return None
        if said.word is Word.FAILED:
            why = last_line(log or paths.log)
            return Failed("run", f"{told}, and the run left no word of its own" + (f": {why}" if why else ""))
        if said.word is Word.ENDED:
            return Lost(f"{told}, but the run left no word of its own")
        return Lost(f"{self.name} does not know its job any more, and the run left no word of its own")

    def _out_of_memory(self) -> str:
        return f"out of memory, {self.name} says; ask for more in resources.memory"


def _own_word(folder: Path, token: str) -> dict[str, Any] | None:
    """What the node wrote at the end of the run with this lease, if it did."""
    try:
        with open(f"{folder}/{OUTCOME}", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs as much as the file
            told: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return None
    return told if told["token"] == token else None


def _ran(own: Mapping[str, Any]) -> Ran | None:
    return Ran(*own["ran"]) if own.get("ran") else None


def _missed(folder: Path) -> bool:
    """Whether the run's word is missing for so long that it will not come. A file remembers since when, for whoever
    looks after the next restart."""
    mark = folder / "missing"
    try:
        since = mark.stat().st_mtime
    except OSError:
        with suppress(OSError):
            mark.touch()
        since = time.time()
    return time.time() - since >= MISSING_SECONDS


class Waking:
    """Calls `wake` every so many `seconds` while `wanted`, in a thread: engines tell nobody when a run has ended."""

    def __init__(self, wake: Callable[[], None], seconds: float) -> None:
        self.wanted = False
        self.closed = threading.Event()
        self._wake = wake
        self._seconds = seconds
        threading.Thread(target=self._run, daemon=True, name="waking").start()

    def _run(self) -> None:
        while not self.closed.wait(self._seconds):
            if self.wanted:
                self._wake()
