"""Runs as tasks of Slurm's job arrays, through its command line. Slurm schedules; what a run leaves in its folder, on a
file system that the nodes share, says with Slurm's word how it ended. Jobs go on without an agent."""

from __future__ import annotations

import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from launcher.errors import NoRoomError, RunnerError
from launcher.item import Lease
from launcher.outcome import Outcome
from launcher.paths import RunPaths, write_atomically
from launcher.runners import Handle, Request, Stray, Told, slurm_cluster
from launcher.runners.engines import Judge, Said, Waking, Word, ask_to_stop, withdraw, write_request
from launcher.runners.node import OUTCOME, STOP
from launcher.runners.slurm_cluster import UNREACHED, Limits, Listed, Task
from launcher.runners.slurm_request import SlurmBatch, SlurmRequest, batches, mark, slurm_request

POLL_SECONDS = 5.0
"""How often Slurm is asked how the jobs are, all of them in one call."""

AT_ONCE = 5000
"""How many runs are taken at a time, at most, so that an agent hears of other things between."""

BATCHES = ".slurm"
"""The folder, below the folder of runs, of the job arrays."""

KEPT_SECONDS = 7 * 86400.0
"""How long the folder of an array is kept that Slurm has forgotten."""

LOOKED_SECONDS = 1.0
"""How long what Slurm says is true of other runs that an agent asks for in turn."""

DEATH_SECONDS = 30.0
"""How long jobs that are ended may take to be gone, before others take their place anyway."""


class Slurm:
    """The runner for `slurm`; see `launcher.runners.Runner` for its verbs."""

    def __init__(self, wake: Callable[[], None], poll_seconds: float = POLL_SECONDS) -> None:
        self._waking = Waking(wake, poll_seconds)
        self._poll_seconds = poll_seconds
        self._limits: Limits | None = None
        self._asked = -math.inf
        self._used = 0
        self._counted = -math.inf
        self._refused = 0.0
        self._looked = -math.inf
        self._found: Mapping[str, Handle] = {}
        self._stopping: set[str] = set()
        self._to_cancel: set[Task] = set()

    def request(self, lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str]) -> SlurmRequest:
        """See `Runner.request`."""
        return slurm_request(lease, paths, code, environ)

    def show(self, requests: Sequence[Request], root: Path) -> Iterator[str]:
        """See `Runner.show`: the job scripts, and why Slurm would refuse each, if it is here to be asked."""
        for some in batches(cast(Sequence[SlurmRequest], requests), self._known_limits().tasks):
            batch = SlurmBatch(root / BATCHES / "BATCH", some)
            text = f"{batch.script()}# runs: {len(some)}, the first: {' '.join(some[0].argv)}\n"
            refused = slurm_cluster.unfit(batch.script(), some[0].environ) if shutil.which("sbatch") else None
            if refused:
                raise RunnerError(f"Slurm would refuse this job: {refused}\n{text}", "prepare")
            yield text

    def room(self) -> int:
        """See `Runner.room`: what the limits of the cluster leave; nothing while it does not answer."""
        now = time.monotonic()
        if now < self._refused:
            return 0
        if self._limits is None:
            self._limits = slurm_cluster.limits()
        old = now >= self._counted + self._poll_seconds
        if self._limits is None or (old and self._listed() is None):
            self._refused, self._waking.wanted = now + self._poll_seconds, True
            return 0
        return min(AT_ONCE, max(0, self._limits.jobs - self._used))

    def submit(self, requests: Sequence[Request], tell: Told) -> None:
        """See `Runner.submit`: an array for each kind of run, or several where one may not be that large."""
        asked = cast(Sequence[SlurmRequest], requests)
        self._waking.wanted = True
        for some in batches(asked, self._known_limits().tasks):
            for token, found in self._submit(some).items():
                tell(token, found)

    def hurry(self) -> None:
        """See `Runner.hurry`: what is submitted is answered at once."""

    def poll(self, handles: Mapping[str, Handle]) -> dict[str, Outcome | None]:
        """See `Runner.poll`: Slurm is asked every few seconds; between, nothing is known of any."""
        self._flush()
        self._waking.wanted = bool(handles or self._to_cancel)
        known: dict[str, Outcome | None] = dict.fromkeys(handles)
        if time.monotonic() < self._asked + self._poll_seconds:
            return known
        self._asked = time.monotonic()
        if (listed := self._listed()) is None:
            return known
        said = {token: listed.of(_task(handle)) for token, handle in handles.items()}
        said |= self._accounted({token: handles[token] for token, told in said.items() if told is None})
        for token, handle in handles.items():
            if told := said[token]:
                log = Path(handle["batch"]) / f"{handle['task']}.log"
                stopping = token in self._stopping
                known[token] = Judge("Slurm").outcome(told, token, Path(handle["dir"]), stopping, log)
        return known

    def cancel(self, token: str, handle: Handle) -> None:
        """See `Runner.cancel`: all that are cancelled go to Slurm in one call, at the next poll. A run that shares its
        allocation is stopped by the node, and the allocation once nobody wants any run in it."""
        if token in self._stopping:
            return
        self._stopping.add(token)
        self._asked = -math.inf
        ask_to_stop(Path(handle["dir"]))
        sharing = _leases(Path(handle["batch"])).get(handle["task"], ()) if handle["pack"] else ()
        if all(_is_over(folder) for folder, _ in sharing):
            self._to_cancel.add(_task(handle))

    def strays(self, root: Path) -> list[Stray]:
        """See `Runner.strays`: the user's jobs with a comment of ours, by the folders of their arrays. Slurm is asked
        only where an array was ever submitted."""
        folder = root / BATCHES
        if not folder.is_dir() or (listed := self._listed()) is None:
            return []
        alive = {comment for task, comment in listed.comments.items() if _lives(listed.said[task])}
        known = {Path(comment.partition(":")[2]) for comment in alive if comment.startswith(mark(folder))}
        leases = {name: _leases(name) for name in known}
        found = []
        for (job, task), comment in listed.comments.items():
            batch = Path(comment.partition(":")[2])
            if batch in known and _lives(listed.said[job, task]):
                runs = leases[batch].get(int(task), ())
                found += [Stray(f"{job}_{task}:{batch}", run.parent.name, token) for run, token in runs]
        for old in folder.iterdir():
            with suppress(OSError):
                if old not in known and time.time() - old.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(old)
        return found

    def submitted(self, token: str, root: Path) -> Handle | None:
        """See `Runner.submitted`: Slurm's comments lead to the folders of arrays, and these to leases."""
        if not (root / BATCHES).is_dir():
            return None
        if time.monotonic() > self._looked + LOOKED_SECONDS:
            if (listed := self._listed()) is None:
                raise RunnerError("Slurm does not answer, so nobody knows yet whether it has this run")
            self._looked, self._found = time.monotonic(), _handles(listed, root / BATCHES)
        return self._found.get(token)

    def end(self, strays: Sequence[Stray]) -> None:
        """See `Runner.end`: waited for, since their items may start again at once. A run that shares its allocation
        with others that go on is stopped by its node."""
        doomed = {stray.token for stray in strays}
        folders, tasks = [], set()
        for place in {str(stray.id) for stray in strays}:
            task, _, batch = place.partition(":")
            job, _, number = task.partition("_")
            sharing = _leases(Path(batch)).get(int(number), ())
            ours = [folder for folder, token in sharing if token in doomed]
            for folder in ours:
                withdraw(folder)
                ask_to_stop(folder)
            if all(folder in ours or _is_over(folder) for folder, _ in sharing):
                tasks.add((job, number))
            else:
                folders += ours
        slurm_cluster.cancel(tasks)
        deadline = time.monotonic() + DEATH_SECONDS
        while time.monotonic() < deadline:
            listed = self._listed()
            gone = listed and not any(_lives(listed.said[task]) for task in tasks & listed.said.keys())
            if gone and all((folder / OUTCOME).exists() for folder in folders):
                return
            self._waking.closed.wait(0.2)

    def close(self) -> None:
        """See `Runner.close`: the jobs go on."""
        self._flush()
        self._waking.closed.set()

    # -- how runs start -------------------------------------------------------------------------------------------

    def _known_limits(self) -> Limits:
        if self._limits is None:
            self._limits = slurm_cluster.limits()
        return self._limits or Limits()

    def _submit(self, requests: Sequence[SlurmRequest]) -> dict[str, Handle | RunnerError]:
        """One array; where it is too large for what Slurm takes just now, half of it, and no room for the rest."""
        root = RunPaths(requests[0].folder).root / BATCHES
        batch = SlurmBatch(root / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}", requests)
        try:
            batch.folder.mkdir(parents=True)
            for request in requests:
                write_request(request)
            write_atomically(batch.folder / "leases", batch.leases())
            write_atomically(batch.folder / "tasks", batch.tasks())
        except OSError as error:
            return {request.token: RunnerError(f"its job cannot be written down: {error}") for request in requests}
        told = slurm_cluster.submit(batch.script(), requests[0].environ)
        if told.code == 0:
            job = told.out.strip().partition(";")[0]
            self._used += batch.count
            return {request.token: _handle(batch, number, job) for number, request in enumerate(requests)}
        shutil.rmtree(batch.folder, ignore_errors=True)  # should Slurm have it after all, its tasks find nothing to do
        if UNREACHED.search(told.err) or told.full:
            if not UNREACHED.search(told.err) and batch.count > 1:
                half = batch.count // 2 * requests[0].pack
                return self._submit(requests[:half]) | dict.fromkeys(
                    (request.token for request in requests[half:]), self._no_room(told.why)
                )
            if UNREACHED.search(told.err) or self._used:
                return dict.fromkeys((request.token for request in requests), self._no_room(told.why))
        refused = RunnerError(f"Slurm refuses its job: {told.why}")
        return dict.fromkeys((request.token for request in requests), refused)

    def _no_room(self, why: str) -> NoRoomError:
        self._refused, self._waking.wanted = time.monotonic() + self._poll_seconds, True
        self._limits = None  # they may have changed
        return NoRoomError(f"Slurm takes no more jobs now: {why}")

    # -- what Slurm says ------------------------------------------------------------------------------------------

    def _listed(self) -> Listed | None:
        found = slurm_cluster.listed()
        if found:
            self._used, self._counted = found.waiting_or_running, time.monotonic()
        return found

    def _accounted(self, forgotten: Mapping[str, Handle]) -> dict[str, Said | None]:
        """What is known of jobs that squeue does not list; None where that cannot be said yet."""
        if not forgotten:
            return {}
        found: Mapping[Task, Said] | None = {}
        if self._known_limits().accounting:
            found = slurm_cluster.accounted(handle["job"] for handle in forgotten.values())
        if found is None:
            return dict.fromkeys(forgotten)
        return {token: found.get(_task(handle), Said(Word.GONE)) for token, handle in forgotten.items()}

    def _flush(self) -> None:
        if self._to_cancel:
            self._to_cancel -= slurm_cluster.cancel(self._to_cancel)


def _handle(batch: SlurmBatch, number: int, job: str) -> Handle:
    request = batch.requests[number]
    return _as_handle(job, batch.place(number), request.folder, batch.folder, request.pack > 1)


def _as_handle(job: str, task: int, folder: Path, batch: Path, packed: bool) -> Handle:
    return {"job": job, "task": task, "dir": str(folder), "batch": str(batch), "pack": packed}


def _handles(listed: Listed, folder: Path) -> dict[str, Handle]:
    """By their tokens, all runs below this folder of arrays that Slurm knows of."""
    arrays = {job: Path(comment.partition(":")[2]) for (job, _), comment in listed.comments.items()
              if comment.startswith(mark(folder))}  # fmt: skip
    return {
        token: _as_handle(job, task, run, batch, len(runs) > 1)
        for job, batch in arrays.items()
        for task, runs in _leases(batch).items()
        for run, token in runs
    }


def _task(handle: Handle) -> Task:
    return handle["job"], str(handle["task"])


def _lives(said: Said) -> bool:
    return said.word is Word.GOES_ON


def _is_over(folder: Path) -> bool:
    return (folder / STOP).exists() or (folder / OUTCOME).exists()


def _leases(batch: Path) -> dict[int, list[tuple[Path, str]]]:
    """The runs of each task of an array: their folders, and the tokens of their leases."""
    found: dict[int, list[tuple[Path, str]]] = {}
    with suppress(OSError):
        for line in (batch / "leases").read_text(encoding="utf-8").splitlines():
            place, folder, token = line.split("\t")
            found.setdefault(int(place), []).append((Path(folder), token))
    return found
