"""The agent's loop: take as many items as there are free places, start each, look after those that run, and say when
to look again."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from launcher.agent.ahead import Ahead
from launcher.agent.hand import Hand
from launcher.agent.heartbeat import heard
from launcher.agent.host import describe
from launcher.agent.neighbours import UNFIT_SECONDS, Neighbours
from launcher.agent.notifier import Notifier
from launcher.agent.places import Places
from launcher.agent.preparing import Preparing
from launcher.agent.recovery import Recovery
from launcher.agent.reports import Reports
from launcher.agent.runs import AgentEvent, Prepared, Run, not_started, traced
from launcher.agent.stalls import Stalls
from launcher.agent.starts import Starts
from launcher.agent.strays import Strays
from launcher.agent.troubles import Troubles
from launcher.errors import RunnerError, StoreError, StoreGoneError
from launcher.item import Lease
from launcher.outcome import Cancelled, Lost, Outcome, Preempted
from launcher.queues import LEASE_SECONDS, Store
from launcher.runners import Runners
from launcher.slots import Slots, discover
from launcher.sources import Checkouts
from launcher.tracing import RunTraces

SOON_SECONDS = 0.2
"""How often a run is looked at that is being stopped, so that its grace time is kept, or that was taken over."""

LOOK_SECONDS = 1.0
"""How long to rest, at most, while no run can be given its folder."""


class Agent:
    """Takes items from queues and runs up to `max_jobs` of them at a time (launcher.agent.places), until stopped or,
    with `drain`, until nothing waits any more.

    `queues`: names, or None for all of the store that can be run here. `root`: the folder for run folders and
    checkouts. `slots`: what its runs share (default: the machine's CPUs, memory and GPUs). `runner_options`: by
    resource, what its runner is made with. `listen` hears every AgentEvent, in the agent's threads.
    """

    def __init__(  # noqa: PLR0913 - each is one setting of the command
        self,
        store: Store,
        root: Path,
        *,
        queues: Sequence[str] | None = None,
        max_jobs: int | None = None,
        drain: bool = False,
        lease_seconds: float = LEASE_SECONDS,
        environ: Mapping[str, str] | None = None,
        slots: Slots | None = None,
        runner_options: Mapping[str, Mapping[str, Any]] | None = None,
        listen: Callable[[AgentEvent], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._root = root
        self._drain = drain
        self._lease_seconds = lease_seconds
        given = {**store.environment, **(os.environ if environ is None else environ)}
        self._slots = slots or discover(given)
        self._runs: dict[str, Run] = {}
        self._wake = threading.Event()
        self._runners = Runners(self._wake.set, runner_options or {})
        self._places = Places(store, self._slots, queues, max_jobs, self._runners.of)
        self._starts = Starts(self._wake.set)
        self._ahead = Ahead((max_jobs or 1) if store.detaches else 0)
        self._hand = Hand(self._runs, self._starts, self._ahead, store.detaches)
        self._checkouts = Checkouts(root / "sources", store.patch, self._hand.codes)
        self._stops = 0
        self._troubles = Troubles(root / "runs", lease_seconds, listen)
        self._looked = -math.inf
        self._fresh = False
        self.info = describe(tuple(queues or ()), max_jobs or 1, self._slots.total())
        self._traces = RunTraces(self.info.id, store.events)
        self._preparing = Preparing(root, self._checkouts, given, self._slots, self._traces, self._runners.of)
        self._listen = hear = traced(self._traces, listen)
        self._strays = Strays(store, self._runners.of, root / "runs", self._hand.ours, hear)
        self._notifier = Notifier(store, self.info.id, root, given, lease_seconds / 3, hear)
        self._reports = Reports(store, self.info.id, self._ahead, self._notifier.hear)
        self._neighbours = Neighbours(store, self.info, lease_seconds, hear, 0 if drain else UNFIT_SECONDS)
        self._recovery = Recovery(
            self._neighbours, self._strays, self._runners.of, root / "runs", self._runs, self._reports, self._slots,
            self._checkouts, self._end,
        )  # fmt: skip
        self._stalls = Stalls(store, self.info.id, lease_seconds / 6)  # it steps that often at least

    def run(self) -> bool:
        """Work until there is nothing more to do; False if it was stopped before. Runs still there after an error are
        stopped and put back."""
        with self._registered():
            self._strays.end(self._places.resources)
            while self._step():
                pass
        return not self._stops

    def pass_once(self, *, take: bool) -> int:
        """Collect what engines have done since nobody watched, hand them what waits if `take`, and leave them with it;
        returns how many runs go on."""
        with self._registered():
            self._look_after()
            while self._neighbours.unsure and not self._stops:
                self._wake.wait(self._lease_seconds / 6)
                self._look_after()
            self._reports.exchange()
            while take and self._fill():
                pass
            self._reports.exchange()
            return len(self._runs)

    @contextmanager
    def _registered(self) -> Iterator[None]:
        with self._notifier:
            try:
                with heard(self._store, self.info, self._lease_seconds / 3, self._troubles):
                    yield
            finally:
                self._leave()

    def stop(self) -> None:
        """The first call: take nothing new, wait for what runs here. The second: stop that, and put it back. Runs of
        engines go on without us."""
        self._stops += 1
        self._wake.set()

    # -- one step of the loop -------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Everything there is to do now, then a rest until there may be more; False when the agent's work is done."""
        self._wake.clear()
        try:
            self._look_after()
            took = self._fill()
            if not self._stops:
                room = None if self._places.free(self._hand.resources()) <= 0 else self._slots.room()
                self._stalls.look(partial(self._places.names, remote=False), room, time.time())
            watched = bool(self._starts or self._ahead or (self._hand.local() if self._stops else self._runs))
            held_up = (self._places.engine_full or self._troubles.folder_fails) and not self._stops
            to_come = self._drain and (self._places.due() is not None or self._neighbours.unsure)
            waits = watched or took or held_up or to_come
            more = waits or not (self._stops or self._drain)
            if more:
                woken = not self._store.wait(self._wake, self._idle_seconds()) and self._wake.is_set()
                self._fresh = woken and time.monotonic() < self._looked + self._lease_seconds / 6
            elif self._fresh:  # somebody may have put back something meanwhile
                self._fresh, more = False, True
        except StoreGoneError:
            raise
        except StoreError as error:
            self._fresh = False
            self._obey()  # time is kept meanwhile
            self._poll()
            self._wake.wait(self._troubles.store_fails(error))
            return self._stops < 2 and not (self._stops and not (self._runs or self._starts))
        return more

    def _look_after(self) -> None:
        """What is there; also what others may have changed in the store, unless only runs of ours began or ended."""
        if not self._fresh:
            self._looked = time.monotonic()
            self._places.look_again()
        if not self._stops:
            self._recovery.look(self._places.names(), self._places.resources, self._lease_seconds)
        if not self._fresh:
            self._watch(self._store.leases(self.info.id))
        self._obey()
        self._collect()

    def _idle_seconds(self) -> float:
        """How long to wait for a sign, at most."""
        if any((run.stopping or run.adopted) and not run.remote for run in self._runs.values()):
            return SOON_SECONDS
        if self._troubles.folder_fails:
            return LOOK_SECONDS
        until = [self._lease_seconds / 6, self._stalls.due(time.time()), self._reports.due(), self._ahead.due()]
        until += [self._places.due() or math.inf, *(run.deadline - time.monotonic() for run in self._runs.values())]
        return max(min(until), 0.0)

    def _watch(self, held: Mapping[str, bool]) -> None:
        """Stop the runs that somebody cancelled, and those whose lease is not ours any more, as `held` says."""
        known = self._hand.tokens() | self._reports.tokens()
        for lease in self._store.held(self.info.id) if held.keys() - known else ():
            if lease.token not in known:  # it was granted, and the store's answer was lost on its way
                self._recovery.take_over(lease, Preempted("the store's answer did not reach its agent", begun=False))
        lost = {token for token, run in self._runs.items() if run.remote and token not in held}
        for token in self._store.valid(lost):
            del self._runs[token]  # another agent took it over while we were silent: it is watched there
        for each in self._still_ours(self._ahead.refused(held), held):
            self._end(each.lease, Cancelled())
        for token, run in self._runs.items():
            if token not in held and not run.abandoned:
                run.abandoned = True
                self._tell("trouble", "lost its lease; its run is stopped, another attempt counts", run.lease)
                self._stop_run(run, Preempted("lease lost"))
            elif held.get(token):
                self._stop_run(run, Cancelled())

    def _obey(self) -> None:
        """Stop the runs whose time is up, and, when told to leave, all."""
        if self._stops > 1:
            self._runners.hurry()
        for run in self._runs.values():
            if self._stops > 1 and not (run.remote and self._store.detaches):
                self._stop_run(run, Preempted("its agent was stopped"))
            elif overdue := run.overdue():
                self._stop_run(run, overdue)

    def _stop_run(self, run: Run, why: Outcome) -> None:
        run.stopping = run.stopping or why
        run.runner.cancel(run.lease.token, run.handle)

    def _collect(self) -> None:
        """See what has started and ended; what was taken ahead begins in its place."""
        self._poll()
        self._give_back(every=bool(self._stops))
        self._starts.submit(self._ahead.take(self._places.free(self._hand.resources())))

    def _poll(self) -> None:
        """See what has started, and poll all runs, one call a runner; what has ended is to be reported."""
        self._begin()
        for runner in self._runners.opened():
            handles = {token: run.handle for token, run in self._runs.items() if run.runner is runner}
            for token, outcome in runner.poll(handles).items() if handles else ():
                if outcome is not None:
                    run = self._runs.pop(token)
                    self._slots.give_back(token)
                    self._ahead.ended(run, outcome)
                    if not run.abandoned:
                        self._end(run.lease, run.final(outcome))

    def _give_back(self, *, every: bool) -> None:
        for each in self._ahead.given_back(every=every):
            self._end(each.lease, Preempted("its agent had no place for it yet", begun=False))

    def _fill(self) -> bool:
        """Report what began and ended, take what there are places for, and start it; True if there was something."""
        may_take = not self._stops and self._troubles.may_start()
        wanted = self._ahead.wanted()
        leases = self._places.take(self._reports.exchange, self._hand.resources(), wanted) if may_take else []
        taken = time.monotonic()
        if any(lease.item.attempt > 1 for lease in leases):
            self._strays.end(self._places.resources)  # an earlier attempt may go on here, whose agent was killed
        prepared = [run for lease in leases if (run := self._prepare(lease, taken))]
        if time.monotonic() - taken > self._lease_seconds / 2:
            prepared = self._still_ours(prepared, self._store.leases(self.info.id))
        self._starts.submit([*self._ahead.keep(prepared), *self._ahead.take(self._places.free(self._hand.resources()))])
        self._begin()  # an engine answers at once
        if self._reports.due() <= 0:
            self._reports.exchange()
        return bool(leases)

    def _still_ours(self, prepared: Sequence[Prepared], held: Collection[str]) -> list[Prepared]:
        """What may be submitted after preparing or waiting for long: others may run the rest by now."""
        for each in prepared:
            if each.lease.token not in held:
                self._slots.give_back(each.lease.token)
                self._tell("trouble", "lost its lease before it was started, another attempt counts", each.lease)
        return [each for each in prepared if each.lease.token in held]

    def _prepare(self, lease: Lease, taken: float) -> Prepared | None:
        self._traces.taken(lease)
        prepared = self._preparing.prepared(lease, taken)
        if isinstance(prepared, Prepared):
            return prepared
        self._end(lease, prepared)
        return None

    def _end(self, lease: Lease, outcome: Outcome) -> None:
        self._slots.give_back(lease.token)
        self._places.ended(outcome)
        self._reports.ended(lease, self._troubles.judge(outcome))

    def _begin(self) -> None:
        """What has started is a run from now on; what could not be started has ended."""
        for each, handle in self._starts.answered():
            token = each.lease.token
            if isinstance(handle, RunnerError):
                self._end(each.lease, not_started(handle))
            else:
                devices = self._slots.devices(token)
                found = {**handle, "code": each.code} | ({"gpus": devices} if devices else {})
                run = self._runs[token] = Run(each.lease, each.runner, found)
                self._reports.started(run)

    # -- leaving --------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        deadline = time.monotonic() + self._lease_seconds
        self._runners.hurry()
        self._give_back(every=True)
        while self._starts or (self._hand.local() and time.monotonic() < deadline):
            self._begin()
            for run in self._hand.local():
                self._stop_run(run, Preempted("its agent stopped"))
            self._collect()
            with suppress(StoreError):  # others notice that we are silent
                self._reports.exchange()
            self._wake.wait(SOON_SECONDS)
        self._runners.close()
        self._checkouts.close()
        try:
            self._reports.exchange()  # what ended while the store was away
            self._stalls.close(time.time())
            self._hand_over()
        except StoreError as error:  # others notice that we are silent
            self._troubles.store_fails(error)

    def _hand_over(self) -> None:
        """What engines run is left to them, and to whoever looks next; everything else goes back."""
        if not (queues := {run.lease.item.queue for run in self._runs.values() if run.remote}):
            self._store.leave(self.info.id)
            return
        for run in self._hand.local():
            self._end(self._runs.pop(run.lease.token).lease, Lost("its agent stopped"))
        self._reports.exchange()
        for code in self._hand.codes():
            self._checkouts.lend(code)
        self._store.register(replace(self.info, detached=True, queues=tuple(sorted(queues))))
        self._tell("detached", f"{len(self._runs):,} runs go on without an agent; launcher sync collects them")

    def _tell(self, kind: str, text: str, lease: Lease | None = None, outcome: Outcome | None = None) -> None:
        self._listen(AgentEvent(kind, text, lease, outcome))
