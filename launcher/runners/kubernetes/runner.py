"""Runs as Jobs of Kubernetes, or as objects of any other kind that a queue's owner gives, through the official client.
Kubernetes schedules; how a run's container ended says with its object's word how the run did. Runs go on without an
agent, and need no file system that pods and agents share."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from launcher.errors import RunnerError
from launcher.item import Lease
from launcher.outcome import Failed, Outcome
from launcher.paths import RunPaths, write_atomically
from launcher.runners import Handle, Request, Stray, Told
from launcher.runners.engines import Judge, Said, Waking, Word, withdraw
from launcher.runners.kubernetes import words
from launcher.runners.kubernetes.asking import Asking
from launcher.runners.kubernetes.cluster import ApiError, kubernetes_missing
from launcher.runners.kubernetes.deletions import Deletions
from launcher.runners.kubernetes.logs import Logs
from launcher.runners.kubernetes.places import Places, root_of
from launcher.runners.kubernetes.request import RUNS, KubernetesRequest, batches, kubernetes_request
from launcher.runners.kubernetes.submission import Submissions
from launcher.runners.kubernetes.watch import Seen
from launcher.runners.node import OUTCOME, REQUEST
from launcher.yaml_text import yaml_text

POLL_SECONDS = 5.0
"""How often all runs are looked at; what changes is looked at at once."""
ADMITTED = 5000
"""How many runs a cluster has at a time, waiting or running: each is two objects, which all of its parts watch."""
AT_ONCE = 8
"""How many calls are made at a time."""

LATE_SECONDS = 0.2
"""How long what the cluster has told of pods may take to be heard."""

GATHER_SECONDS = 2.0
"""How long a look waits for the logs of what has ended."""

DEATH_SECONDS = 60.0
MESSAGE_BYTES = 4096
"""What Kubernetes hands on of a termination message, which holds the result."""


class Kubernetes:
    """The runner for `kubernetes`; see `launcher.runners.Runner` for its verbs.

    `allowed`: fields of manifests that W&B's agents refuse, and every run may have here.
    """

    def __init__(
        self, wake: Callable[[], None], poll_seconds: float = POLL_SECONDS, allowed: Collection[str] = ()
    ) -> None:
        self._wake = wake
        self._waking = Waking(wake, poll_seconds)
        self._poll_seconds = poll_seconds
        self._allowed = frozenset(allowed)
        self._pool = ThreadPoolExecutor(AT_ONCE, "kubernetes")
        self._asking = Asking(self._pool, self._changed)
        self._logs = Logs(self._asking)
        self._places = Places(self._changed)
        self._submissions = Submissions(self._places, poll_seconds)
        self._deletions = Deletions(self._places, self._pool, self._waking.closed, poll_seconds)
        self._lock = threading.Lock()
        self._news: set[str] = set()
        self._asked = -math.inf
        self._runs: dict[str, dict[str, Handle]] = {}
        self._held = 0
        self._stopping: set[str] = set()
        self._waits: dict[str, tuple[str, float]] = {}

    def request(self, lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str]) -> KubernetesRequest:
        """See `Runner.request`."""
        return kubernetes_request(lease, paths, code, environ, self._allowed)

    def show(self, requests: Sequence[Request], root: Path) -> Iterator[str]:  # noqa: ARG002 - the protocol's
        """See `Runner.show`: the manifests; the cluster is asked for each whether it would take it (`dryRun`), if there
        is one."""
        for batch in batches(cast(Sequence[KubernetesRequest], requests)):
            made = batch.manifest()
            first = batch.requests[0]
            text = f"---\n{yaml_text(made)}# runs: {len(batch.requests)}, the first: {' '.join(first.argv)}\n"
            if refusal := self._submissions.refusal(first.context, made):
                raise RunnerError(f"Kubernetes would refuse this: {refusal}\n{text}", "prepare")
            yield text

    def room(self) -> int:
        """See `Runner.room`: nothing while the cluster does not answer, or refuses more."""
        if self._submissions.unsure or time.monotonic() < self._submissions.refused_until:
            return 0
        return max(0, ADMITTED - self._held)

    def submit(self, requests: Sequence[Request], tell: Told) -> None:
        """See `Runner.submit`: an object each, or for those that share one. Names are made of leases, so a call whose
        answer was lost is made again, and meets what it had made."""
        asked = cast(Sequence[KubernetesRequest], requests)
        if missing := kubernetes_missing():
            for request in asked:
                tell(request.token, RunnerError(missing, "prepare"))
            return
        self._waking.wanted = True
        for found in self._pool.map(self._submissions.submit, list(batches(asked))):
            for token, handle in found.items():
                if not isinstance(handle, RunnerError):
                    self._held += 1
                    self._runs.setdefault(handle["name"], {})[token] = handle
                    self._follow(handle)
                tell(token, handle)

    def hurry(self) -> None:
        """See `Runner.hurry`: what is submitted is answered at once."""

    def poll(self, handles: Mapping[str, Handle]) -> dict[str, Outcome | None]:
        """See `Runner.poll`: what two watches tell of all runs; a run is looked at when something of it has changed,
        and all are every few seconds."""
        self._waking.wanted = bool(handles)
        known: dict[str, Outcome | None] = dict.fromkeys(handles)
        with self._lock:
            news, self._news = self._news, set()
        every = time.monotonic() >= self._asked + self._poll_seconds
        if every:
            self._asked = time.monotonic()
            self._submissions.ask_again()
        runs: dict[str, dict[str, Handle]] = {}
        for token, handle in handles.items():
            name = handle["name"]
            runs.setdefault(name, {})[token] = handle
            if every or name in news or token not in self._runs.get(name, ()):
                known[token] = self._outcome(token, handle)
        for name in self._asking.gathered(GATHER_SECONDS):  # of whoever comes to collect, and looks once
            known |= {token: self._outcome(token, handle) for token, handle in runs.get(name, {}).items()}
        self._runs = runs
        self._held = sum(outcome is None for outcome in known.values())
        return known

    def cancel(self, token: str, handle: Handle) -> None:
        """See `Runner.cancel`: its object is deleted, or its pod where it shares one."""
        if token not in self._stopping:
            self._stopping.add(token)
            if handle["index"] is None:
                self._deletions.object(handle)
            self._changed(handle["name"])

    def strays(self, root: Path) -> list[Stray]:
        """See `Runner.strays`: what has our labels where this folder's runs were ever submitted."""
        with suppress(RunnerError, ApiError):
            return [
                Stray(json.dumps({**handle, "sharing": sharing}), item, token)
                for handle, item, token, sharing in self._places.listed(root)
            ]
        return []

    def submitted(self, token: str, root: Path) -> Handle | None:
        """See `Runner.submitted`."""
        try:
            found = self._places.listed(root, ended=True)
            return next((handle for handle, _, known, _ in found if known == token), None)
        except ApiError as error:
            raise RunnerError(f"Kubernetes does not say yet whether it has this run: {error}") from error

    def end(self, strays: Sequence[Stray]) -> None:
        """See `Runner.end`: waited for, since their items may start again at once."""
        handles = [json.loads(str(stray.id)) for stray in strays]
        for handle in handles:
            withdraw(Path(handle["dir"]))
        doomed = {stray.token for stray in strays}
        for handle in handles:
            if set(handle["sharing"]) <= doomed:
                self._deletions.object(handle)
            else:
                self._deletions.pods(handle)
        deadline = time.monotonic() + DEATH_SECONDS
        while any(self._deletions.has_pods(handle) for handle in handles) and time.monotonic() < deadline:
            self._waking.closed.wait(0.1)

    def close(self) -> None:
        """See `Runner.close`: the runs go on."""
        self._waking.closed.set()
        self._pool.shutdown()
        self._logs.close()
        self._places.close()

    # -- how runs end ---------------------------------------------------------------------------------------------

    def _outcome(self, token: str, handle: Handle) -> Outcome | None:
        """How a run ended; None while it goes on, or nothing is known."""
        folder = Path(handle["dir"])
        if handle["name"] in self._submissions.unsure:
            return None
        if refusal := self._submissions.refusals.get(handle["name"]):
            return Failed("submit", refusal)
        try:
            made, pods = self._places.watch(handle, root_of(handle))
        except RunnerError:
            return None  # no cluster is configured here just now
        if not (made.known() and pods.known()):
            return None
        if not folder.exists():  # another machine's agent made it
            folder.mkdir(parents=True)
            (folder / REQUEST).touch()
        seen = [each for each in pods.of(handle["name"]) if words.of_run([each.object], handle["index"])]
        own = words.of_run([each.object for each in seen], handle["index"])
        told = _said(next(iter(made.of(handle["name"])), None), own, handle["index"])
        if told.word is not Word.GOES_ON and any(each.there and words.lives(each.object) for each in seen):
            told = Said(Word.GOES_ON)
        pod = words.speaker(own, told.word)
        if told.word is Word.GOES_ON:
            self._look_after(token, handle, pod, seen)
        elif not (self._written(token, handle, pod) if pod else self._settled(token, handle)):
            return None
        return _honest(Judge("Kubernetes").outcome(told, token, folder, token in self._stopping), pod)

    def _settled(self, token: str, handle: Handle) -> bool:
        """Whether a run of whose pods nobody heard has none: they are heard of apart from objects, and maybe later."""

        def has_none() -> bool:
            with suppress(ApiError, RunnerError):
                return not (self._places.pods_now(handle) or self._waking.closed.wait(LATE_SECONDS))
            return False

        def heard_of() -> bool:
            _, pods = self._places.watch(handle, root_of(handle))
            return bool(words.of_run([each.object for each in pods.of(handle["name"])], handle["index"]))

        return self._asking.sure(f"pods of {token}", handle["name"], has_none) and not heard_of()

    def _look_after(self, token: str, handle: Handle, pod: Mapping[str, Any] | None, seen: Sequence[Seen]) -> None:
        """What is to be done for a run that goes on: follow its log, end it where it is stopped or never starts."""
        paths = RunPaths(Path(handle["dir"]))
        if token in self._stopping and handle["index"] is not None:
            self._stop_index(handle, seen)
        if pod is None or self._follow(handle):
            self._waits.pop(token, None)
            return
        reason, message = words.waiting(pod)
        what, seconds = words.patience(handle, pod, reason)
        if seconds is None:
            self._waits.pop(token, None)
            return
        before, since = self._waits.get(token, ("", 0.0))
        if before != what:
            _, since = self._waits[token] = what, time.monotonic()
        if time.monotonic() >= since + seconds:
            why = f"Kubernetes cannot {what}: {reason}: {message}"
            _record(paths, {"token": token, "stopped": False, "timed_out": False, "exit_code": None, "why": why})
            if handle["index"] is None:
                self._deletions.object(handle)
            else:
                self._deletions.pods(handle)

    def _stop_index(self, handle: Handle, seen: Sequence[Seen]) -> None:
        """A run that shares its Job loses its pod, now or when that comes; a Job that nobody wants any more goes."""
        watched, _ = self._places.watch(handle, root_of(handle))
        made = next((each.object for each in watched.of(handle["name"]) if each.there), None)
        runs = _runs(made) if made else []
        if made and all(
            token in self._stopping or words.said(made, (), index).word is not Word.GOES_ON
            for index, (_, _, token) in enumerate(runs)
        ):
            self._deletions.object(handle)
        elif any(each.there and "deletionTimestamp" not in each.object["metadata"] for each in seen):
            self._deletions.pods(handle)

    def _written(self, token: str, handle: Handle, pod: Mapping[str, Any]) -> bool:
        """Whether a run's log, result and own word are in its folder by now."""
        paths = RunPaths(Path(handle["dir"]))
        if (paths.folder / OUTCOME).exists():
            return True
        if words.has_started(pod):
            cluster = self._places.cluster(handle["context"])
            if not self._logs.kept(cluster, handle["namespace"], pod, paths.log, handle["name"]):
                return False
        own = words.own_word(pod, token)
        if own:
            message = str((words.terminated(pod) or {}).get("message") or "")
            if message and not handle["shared"] and own["exit_code"] is not None:
                write_atomically(paths.result, message)
            _record(paths, own)
        return True

    def _changed(self, name: str) -> None:
        """Something of a run has: its log begins to come without waiting for anybody's look."""
        with self._lock:
            self._news.add(name)
        for handle in list(self._runs.get(name, {}).values()):
            with suppress(RunnerError):  # no cluster is configured here just now
                self._follow(handle)
        self._wake()

    def _follow(self, handle: Handle) -> bool:
        """Follow a run's log if it has started; whether it has."""
        _, pods = self._places.watch(handle, root_of(handle))
        own = words.of_run([each.object for each in pods.of(handle["name"]) if each.there], handle["index"])
        if not own or not words.has_started(own[-1]):
            return False
        if words.lives(own[-1]):
            cluster = self._places.cluster(handle["context"])
            self._logs.follow(cluster, handle["namespace"], own[-1], RunPaths(Path(handle["dir"])).log)
        return True


def _said(seen: Seen | None, pods: Sequence[Mapping[str, Any]], index: int | None) -> Said:
    """What is said of a run whose object was last seen so. One that was over is not lost when Kubernetes clears up; one
    that was not, and that somebody was seen to delete, was cancelled there."""
    if seen is None:
        return words.said(None, pods, index)
    told = words.said(seen.object, pods, index)
    if seen.there or told.word is not Word.GOES_ON:
        return told
    return Said(Word.CANCELLED, "deleted") if seen.deleted else words.said(None, pods, index)


def _runs(made: Mapping[str, Any]) -> list[list[str]]:
    """Item, folder and token of the runs of an object, in their order."""
    found: list[list[str]] = json.loads(made["metadata"]["annotations"][RUNS])["runs"]
    return found


def _record(paths: RunPaths, own: Mapping[str, Any]) -> None:
    """The run's own word, where `Judge` reads it, also when Kubernetes has long forgotten it."""
    write_atomically(paths.folder / OUTCOME, json.dumps(own))


def _honest(outcome: Outcome | None, pod: Mapping[str, Any] | None) -> Outcome | None:
    """A result that was cut off is no fault of the program's JSON."""
    if isinstance(outcome, Failed) and outcome.stage == "result" and pod:
        message = str((words.terminated(pod) or {}).get("message") or "")
        if len(message.encode()) >= MESSAGE_BYTES:
            why = (
                f"its result is longer than the {MESSAGE_BYTES} bytes that Kubernetes hands on; report less, or give "
                "the runs a shared volume (resource_args.kubernetes.shared)"
            )
            return replace(outcome, reason=why)
    return outcome
