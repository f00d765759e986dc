"""What a store must do, said a second time and as simply as can be: items in a list, each verb a few lines of Python,
one caller, no time but what it is told. story.py asks it and a real store the same things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from launcher.errors import LaunchError, NotFoundError, StoreError
from launcher.item import HELD, TERMINAL, AgentInfo, Count, Item, ItemFilter, QueueInfo, Receipt, RunState
from launcher.outcome import Lost, Outcome, Preempted
from tests.queues.work import Entry, Work, selects, told

PENDING, LEASED, RUNNING = RunState.PENDING, RunState.LEASED, RunState.RUNNING
FAILED, CANCELLED = RunState.FAILED, RunState.CANCELLED


class Model:
    """All that a store knows. The verbs are those of `launcher.queues.Store`, with the time they happen at."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []  # oldest first
        self.queues = {"default": QueueInfo("default", "local-process")}
        self.sweeps: dict[str, int | None] = {}
        self.stopped: set[str] = set()
        self.agents: dict[str, AgentInfo] = {}

    # -- what tests ask -------------------------------------------------------------------------------------------

    def entry(self, item_id: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.item.id == item_id), None)

    def held(self, agent: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.item.state in HELD and entry.item.agent == agent]

    def busy(self, queue: str) -> int:
        return sum(entry.item.queue == queue and entry.item.state in HELD for entry in self.entries)

    def counts(self) -> Counter[Count]:
        recount = Counter((entry.item.queue, entry.item.sweep, entry.item.state) for entry in self.entries)
        return Counter(Count(*place, number) for place, number in recount.items())

    def next_due(self, now: float, queues: Sequence[str]) -> float | None:
        backing_off = [entry.item for entry in self.entries if entry.item.hold == "backoff"]
        due = [item.not_before for item in backing_off if item.not_before is not None and item.queue in queues]
        return max(0.0, min(due) - now) if due else None

    # -- adding ---------------------------------------------------------------------------------------------------

    def _missing(self, sweep: str | None, works: Sequence[Work], again: bool) -> list[Work]:
        had = {(entry.work.seed, entry.work.queue) for entry in self.entries if entry.item.sweep == sweep}
        return [work for work in works if sweep is None or again or (work.seed, work.queue) not in had]

    def refusal(self, sweep: str | None, works: Sequence[Work], again: bool) -> type[LaunchError] | None:
        """How a push of this must fail, if it must."""
        if {work.queue for work in works} - set(self.queues):
            return NotFoundError
        given = [work.run_id for work in self._missing(sweep, works, again) if work.run_id]
        taken = {entry.item.id for entry in self.entries}
        return StoreError if len(set(given)) < len(given) or taken & set(given) else None

    def push(
        self, now: float, sweep: str | None, stop_after: int | None, works: Sequence[Work], again: bool,
        ids: Sequence[str],
    ) -> Receipt:  # fmt: skip
        """`ids`: those that the store says it gave."""
        if sweep is not None:
            self.sweeps[sweep] = stop_after or self.sweeps.get(sweep)
        missing = self._missing(sweep, works, again)
        retried, present = (0, {}) if sweep is None or again else self._present(now, sweep, works)
        for item_id, work in zip(ids, missing, strict=True):
            assert work.run_id in (None, item_id)
            item = Item(
                item_id, work.queue, sweep, PENDING, work.priority, None, work.point, 0, work.policy.attempts, now, now,
                expires_at=None if work.wait_at_most is None else now + work.wait_at_most,
            )  # fmt: skip
            self.entries.append(Entry(item, work))
        return Receipt(sweep, len(missing), len(works) - len(missing) - retried, tuple(ids), retried, present)

    def _present(self, now: float, sweep: str, works: Sequence[Work]) -> tuple[int, dict[RunState, int]]:
        """How many failed items wait again, and in which states the others are that are there already."""
        retried = self._retry_failed(now, sweep, works)
        states: Counter[RunState] = Counter()
        for work in works:
            if same := self._same(sweep, work.seed, work.queue):
                states[next((e for e in reversed(same) if e.item.state is not FAILED), same[-1]).item.state] += 1
        states[PENDING] -= retried
        return retried, {state: number for state, number in states.items() if number}

    def _same(self, sweep: str, seed: int, queue: str) -> list[Entry]:
        return [e for e in self.entries if (e.item.sweep, e.work.seed, e.work.queue) == (sweep, seed, queue)]

    def _retry_failed(self, now: float, sweep: str, works: Sequence[Work]) -> int:
        """What is brought again and there only as failed waits again: the newest item of each such work."""
        retried = 0
        for seed, queue in {(work.seed, work.queue) for work in works}:
            same = self._same(sweep, seed, queue)
            if same and all(entry.item.state is FAILED for entry in same):
                self._wait_again(now, same[-1], None, "added again")
                retried += 1
        return retried

    # -- agents ---------------------------------------------------------------------------------------------------

    def pop(self, now: float, agent: str, queues: Sequence[str], limit: int) -> list[str]:
        """The IDs of the items that are leased, in order; their tokens are the store's to choose (`Entry.token`)."""
        if limit < 1:
            return []
        due = self._pass_deadlines(now)
        taken: list[Entry] = []
        room = {name: queue.max_running for name, queue in self.queues.items() if name in queues and not queue.paused}
        for entry in sorted(self.entries, key=lambda entry: entry.item.priority):
            item = entry.item
            if len(taken) == limit or item.state is not PENDING or item.hold or item.queue not in room:
                continue
            limited = room[item.queue]
            if limited is not None and self.busy(item.queue) >= limited:
                continue
            entry.move(
                now, LEASED, agent, None, agent=agent, attempt=item.attempt + 1, started_at=None, finished_at=None,
                run_dir=None, handle=None, exit_code=None, stage=None, result=None,
            )  # fmt: skip
            taken.append(entry)
        if (taken or due) and agent in self.agents:
            self.agents[agent] = replace(self.agents[agent], state="alive")
        return [entry.item.id for entry in taken]

    def _pass_deadlines(self, now: float) -> bool:
        waiting = [entry for entry in self.entries if entry.item.state is PENDING]
        expired = [entry for entry in waiting if (entry.item.expires_at or float("inf")) <= now]
        for entry in expired:
            reason = "waited in its queue for too long"
            entry.move(
                now, FAILED, None, reason, stage="timeout", hold=None, not_before=None, started_at=None, finished_at=now
            )
        self._hold_failing({entry.item.sweep for entry in expired})
        rested = [e for e in waiting if e.item.hold == "backoff" and (e.item.not_before or 0) <= now]
        for entry in rested:
            entry.item = replace(entry.item, hold=None, not_before=None)
        return bool(expired or rested)

    def ack(self, now: float, item_id: str, token: str, handle: Mapping[str, Any], folder: str) -> bool:
        entry = self.entry(item_id)
        if entry is None or entry.token != token or entry.item.state is not LEASED:
            return False
        entry.move(now, RUNNING, entry.item.agent, None, handle=handle, run_dir=folder, started_at=now, expires_at=None)
        return True

    def finish(self, now: float, ended: Iterable[tuple[str, str, Outcome]]) -> list[bool]:
        """Item, token and outcome of each."""
        done = []
        failed, returned = set(), []
        for item_id, token, outcome in ended:
            entry = self.entry(item_id)
            ours = entry is not None and entry.token == token and entry.item.state in HELD
            done.append(ours)
            if entry is not None and ours:
                self._end(now, entry, outcome)
                if entry.item.state is FAILED:
                    failed.add(entry.item.sweep)
                elif entry.item.state is PENDING:
                    returned.append(entry)
        self._hold_failing(failed)
        self._hold([entry for entry in returned if entry.item.sweep in self.stopped])
        return done

    def exchange(
        self, now: float, agent: str, started: Sequence[tuple[str, str, Mapping[str, Any], str]],
        ended: Sequence[tuple[str, str, Outcome]], queues: Sequence[str], limit: int,
    ) -> tuple[list[bool], list[bool], list[str]]:  # fmt: skip
        """Three verbs in one; who tells of something is watched again, even if it takes nothing."""
        acked = [self.ack(now, *each) for each in started]
        done = self.finish(now, ended)
        if (started or ended) and agent in self.agents:
            self.agents[agent] = replace(self.agents[agent], state="alive")
        return acked, done, self.pop(now, agent, queues, limit)

    def _end(self, now: float, entry: Entry, outcome: Outcome) -> None:
        item, policy = entry.item, entry.work.policy
        names, state, ending = told(outcome)
        granted = isinstance(outcome, Preempted)
        never_begun = granted and not outcome.begun
        again = (never_begun or bool(names & policy.causes)) and item.attempt < item.max_attempts + granted
        counted = max(1, item.attempt - max(0, item.max_attempts - policy.attempts))
        pause = 0.0 if granted else policy.pauses[min(counted, len(policy.pauses)) - 1]
        if again:
            state = CANCELLED if item.stop_requested else PENDING
        backing_off = state is PENDING and pause > 0
        agent, entry.token = item.agent, None
        entry.move(
            now, state, agent, getattr(outcome, "reason", None), agent=None, stop_requested=False, finished_at=now,
            max_attempts=item.max_attempts + granted, hold="backoff" if backing_off else None,
            not_before=now + pause if backing_off else None, **ending,
        )  # fmt: skip
        if state is PENDING:
            entry.close_attempt(FAILED, agent)

    def _hold_failing(self, sweeps: set[str | None]) -> None:
        """The rest of these sweeps, in which something just went wrong, waits if enough of them has failed."""
        for name in sweeps - {None}:
            ours = [entry for entry in self.entries if entry.item.sweep == name]
            allowed = self.sweeps[str(name)]
            if allowed is None or sum(entry.item.state is FAILED for entry in ours) < allowed:
                continue
            self.stopped.add(str(name))
            self._hold(ours)

    def _hold(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.item.state is PENDING and entry.item.hold in (None, "backoff"):
                entry.item = replace(entry.item, hold="failures", not_before=None)

    def register(self, agent: AgentInfo) -> None:
        known = self.agents.get(agent.id)
        self.agents[agent.id] = replace(agent, beats=known.beats + 1 if known else agent.beats)

    def heartbeat(self, now: float, agent: str) -> None:
        if known := self.agents.get(agent):
            self.agents[agent] = replace(known, beats=known.beats + 1, state="alive", seen_at=now)

    def release(self, now: float, agent: str, state: str, reason: str, beats: int | None) -> int:
        known = self.agents.get(agent)
        silent = known is not None and known.state == "alive" and beats in (None, known.beats)
        if known and silent:
            seen = now if state == "left" else known.seen_at
            self.agents[agent] = replace(known, state=state, seen_at=seen)
        if beats is not None and not silent:
            return 0
        ended = [(entry.item.id, str(entry.token), Lost(reason)) for entry in self.held(agent)]
        return sum(self.finish(now, ended))

    def adopt(self, dead: str, agent: str) -> set[str]:
        """The tokens that change hands."""
        known = self.agents.get(dead)
        if known is None or known.state != "alive":
            return set()
        self.agents[dead] = replace(known, state="lost")
        adopted = self.held(dead)
        for entry in adopted:
            entry.item = replace(entry.item, agent=agent)
        return {str(entry.token) for entry in adopted}

    # -- people ---------------------------------------------------------------------------------------------------

    def _selected(self, which: ItemFilter, fits: Callable[[Item], bool]) -> list[Entry]:
        return [entry for entry in self.entries if selects(which, entry.item) and fits(entry.item)]

    def cancel(self, now: float, which: ItemFilter, actor: str) -> tuple[int, int]:
        held = self._selected(which, lambda item: item.state in HELD)
        waiting = self._selected(which, lambda item: item.state is PENDING)
        for entry in held:
            entry.item = replace(entry.item, stop_requested=True)
        for entry in waiting:
            reason = "cancelled while waiting"
            entry.move(
                now, CANCELLED, actor, reason, stage=None, hold=None, not_before=None, started_at=None, finished_at=now
            )
        return len(waiting), len(held)

    def retry(self, now: float, which: ItemFilter, actor: str) -> int:
        ended = self._selected(which, lambda item: item.state in (FAILED, CANCELLED) and item.queue in self.queues)
        for entry in ended:
            self._wait_again(now, entry, actor, "retried")
        return len(ended)

    def _wait_again(self, now: float, entry: Entry, actor: str | None, reason: str) -> None:
        entry.close_attempt(entry.item.state, entry.events[-1].actor)
        more = max(entry.item.max_attempts, entry.item.attempt + 1)
        entry.move(
            now, PENDING, actor, reason, max_attempts=more, stage=None, exit_code=None, result=None, finished_at=None,
            expires_at=None,
        )  # fmt: skip

    def hold(self, which: ItemFilter) -> int:
        waiting = self._selected(which, lambda item: item.state is PENDING and item.hold != "paused")
        for entry in waiting:
            entry.item = replace(entry.item, hold="paused", not_before=None)
        return len(waiting)

    def resume(self, which: ItemFilter) -> int:
        waiting = self._selected(which, lambda item: item.state is PENDING and item.hold in ("paused", "failures"))
        for entry in waiting:
            entry.item = replace(entry.item, hold=None)
        held = {entry.item.sweep for entry in self.entries if entry.item.hold == "failures"}
        self.stopped -= {name for name in self.stopped if which.sweep in (None, name) and name not in held}
        return len(waiting)

    def set_priority(self, which: ItemFilter, priority: int) -> int:
        sorted_queues = {name for name, queue in self.queues.items() if queue.prioritization == "V0"}
        waiting = self._selected(which, lambda item: item.state is PENDING and item.queue in sorted_queues)
        for entry in waiting:
            entry.item = replace(entry.item, priority=priority)
        return len(waiting)

    def delete(self, which: ItemFilter) -> int:
        gone = self._selected(which, lambda item: item.state not in HELD)
        self.entries = [entry for entry in self.entries if entry not in gone]
        return len(gone)

    def change_queue(self, verb: str, queue: QueueInfo) -> None:
        """`verb`: create, update, delete, pause or unpause, the last two of which only look at the queue's name."""
        match verb:
            case "create":
                self.queues[queue.name] = queue
            case "update":
                self.queues[queue.name] = replace(queue, paused=self.queues[queue.name].paused)
            case "delete":
                del self.queues[queue.name]
            case _:
                self.queues[queue.name] = replace(self.queues[queue.name], paused=verb == "pause")

    def queue_in_use(self, name: str) -> bool:
        return any(entry.item.queue == name and entry.item.state not in TERMINAL for entry in self.entries)
