"""The scenarios: what goes wrong while two agents work on the items of a store. pytest plays their short forms
(`test_scenarios`), `python -m tests.chaos` the long ones."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.item import ItemFilter
from tests.chaos import faults
from tests.chaos.harness import OPEN, Verdict, World, world

BOTH = ("sqlite", "postgres")


@dataclass(frozen=True, slots=True)
class Scenario:
    """`play` breaks a world whose settings are `options`; `what` says how, for the table. `settings`: PostgreSQL's."""

    name: str
    what: str
    play: Callable[[World], None]
    stores: tuple[str, ...] = BOTH
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    disk: str = ""


def play(scenario: Scenario, store: str, folder: Path, *, long: bool) -> tuple[Verdict, list[str]]:
    """The verdict on a scenario, and what speaks against it."""
    with world(store, folder, long=long, settings=scenario.settings, disk=scenario.disk, **scenario.options) as made:
        scenario.play(made)
        return made.finish(), made.notes


# -- adders -------------------------------------------------------------------------------------------------------


def adder_killed(of: World) -> None:
    """Adders are killed at random moments of their push, and right after the store has it, before they can tell."""
    number = 600 if of.long else 60
    of.agent(), of.agent()
    began = time.monotonic()
    process = of.adder("first", str(number))
    out, err = process.communicate()
    assert out == f"added first {number}\n", err
    of.acknowledged["first"] = number
    took = time.monotonic() - began
    for turn in range(20 if of.long else 4):
        sweep = f"killed-{turn}"
        process = of.adder(sweep, str(number))
        if turn % 2:
            of.wait(lambda process=process, sweep=sweep: process.poll() is not None or _there(of, sweep), "the push")
        else:
            time.sleep(random.uniform(0.4, 1.1) * took)
        faults.kill(process)
        process.communicate()
        of.faults += 1
        there = _there(of, sweep)
        if there not in (0, number):
            of.notes.append(f"half a push: {there} of {number}")
            of.acknowledged[f"{sweep} (half)"] = number
        if of.long and turn > 2:  # a few thousand items are enough
            of.store.cancel(_of(sweep), "busy")
            of.store.delete(_of(sweep))
            continue
        of.add(number, sweep)


def _of(sweep: str) -> ItemFilter:
    return ItemFilter(sweep=sweep)


def _there(of: World, sweep: str) -> int:
    return sum(count.number for count in of.ask(of.store.counts) if count.sweep == sweep)


# -- agents -------------------------------------------------------------------------------------------------------


def agents_killed(of: World) -> None:
    """Agents are killed at random moments, some left as zombies; another takes the place of each."""
    of.add(2000 if of.long else 150)
    agents = [of.agent(), of.agent()]
    for turn in range(50 if of.long else 5):
        victim = agents.pop(random.randrange(2))
        name = of.name(victim)
        of.name(agents[0])  # one is there to take over, and did not only begin
        time.sleep(random.uniform(0, 0.6))
        agents.append(of.agent())
        faults.kill(victim, reap=turn % 2 == 0)
        of.lets_go(name)
        if not of.count(*OPEN):
            of.add(500, f"more-{turn}")


def agents_die_between(of: World) -> None:
    """Agents are killed exactly before or after what they tell the store: between a start and its report, say."""
    places = [f"{when} {verb}" for verb in ("ack", "finish", "pop") for when in ("before", "after")]
    numbers = itertools.count()
    of.add(200 if of.long else 40)
    of.name(of.agent(jobs=1))
    for place in places * (3 if of.long else 1):
        victim = of.agent(dies=f"{place} {random.randint(2, 4)}")
        name = of.name(victim)
        while victim.poll() is None:
            of.wait(lambda: victim.poll() is not None or of.count(*OPEN) < 10, f"its end {place}")  # noqa: B023
            if victim.poll() is None:  # it gets there with more to do
                of.add(30, f"more-{next(numbers)}")
        of.lets_go(name)


def machine_lost(of: World) -> None:
    """Agents of two machines, which do not see each other's processes; one is killed, and comes back later."""
    of.add(300 if of.long else 40)
    agents = {machine: of.agent(machine) for machine in ("a", "b")}
    for turn in range(6 if of.long else 2):
        machine = "ab"[turn % 2]
        name = of.name(agents[machine])
        of.runs(by=name)
        faults.kill(agents[machine])
        of.lets_go(name)
        agents[machine] = of.agent(machine)
        of.name(agents[machine])


def agent_stopped(of: World) -> None:
    """An agent is stopped for longer than its lease, its runs end meanwhile, others repeat them; then it wakes up."""
    of.add(200 if of.long else 30)
    agents = [of.agent(), of.agent()]
    for turn in range(8 if of.long else 2):
        victim = agents[turn % 2]
        name = of.name(victim)
        of.runs(by=name)
        with faults.stopped(victim):
            while not of.can_write():  # only a stop between two writes is measured here
                victim.send_signal(signal.SIGCONT)
                time.sleep(0.01)
                victim.send_signal(signal.SIGSTOP)
            of.lets_go(name)
            of.progresses()


def clock_jumps(of: World) -> None:
    """The wall clocks of the agents jump an hour forth and back, each by itself, in the middle of their work."""
    of.add(2000 if of.long else 100)
    agents = [of.agent(), of.agent()]
    for agent in agents:
        of.name(agent)
    for turn in range(30 if of.long else 6):
        time.sleep(random.uniform(0.05, 0.3))
        victim = agents[turn % 2]
        victim.send_signal((signal.SIGUSR1, signal.SIGUSR2)[turn // 2 % 2])
        of.progresses()
        if turn == 3:  # one is lost while the clocks differ
            name = of.name(victim)
            agents[turn % 2] = of.agent()
            faults.kill(victim)
            of.lets_go(name)
            of.name(agents[turn % 2])


# -- PostgreSQL ---------------------------------------------------------------------------------------------------


def server_restarts(mode: str) -> Callable[[World], None]:
    def play(of: World) -> None:
        assert of.server
        of.add(1200 if of.long else 60)
        for agent in (of.agent(), of.agent()):
            of.name(agent)
        for _ in range(5 if of.long else 1):
            of.runs()
            faults.crash(of.server, mode)
            time.sleep(random.uniform(0.2, 3.0))
            faults.restart(of.server)
            of.progresses()

    return play


def backends_ended(of: World) -> None:
    """All of the server's connections are ended, again and again."""
    assert of.server
    of.add(1500 if of.long else 60)
    for agent in (of.agent(), of.agent()):
        of.name(agent)
    for _ in range(30 if of.long else 5):
        time.sleep(random.uniform(0.05, 0.5))
        faults.end_backends(of.server)
        of.progresses()


def connections_exhausted(of: World) -> None:
    """Others take all connections of the server, so that nobody gets one, for longer than a lease."""
    assert of.server
    of.add(1000 if of.long else 60)
    for agent in (of.agent(), of.agent()):
        of.name(agent)
    for _ in range(5 if of.long else 1):
        of.runs()
        with faults.exhausted(of.server):
            time.sleep(1.5 * of.lease_seconds)
        of.progresses()


# -- files --------------------------------------------------------------------------------------------------------


def busy_writers(of: World) -> None:
    """Eight processes add, cancel and list at once, while two agents work."""
    of.add(500 if of.long else 40)
    for agent in (of.agent(), of.agent()):
        of.name(agent)
    writers = [of.adder(f"busy{number}", "busy", "20" if of.long else "2") for number in range(8)]
    of.progresses()
    for writer in writers:
        out, err = writer.communicate()
        assert writer.returncode == 0, err
        for line in out.splitlines():
            _, sweep, number = line.split()
            of.acknowledged[sweep] = int(number)


def disk_full(of: World) -> None:
    """The disk of the runs' folders is full for a while, and with it that of an SQLite store."""
    of.add(1000 if of.long else 60)
    for agent in (of.agent(), of.agent()):
        of.name(agent)
    for _ in range(5 if of.long else 1):
        of.runs()
        with faults.full(of.root.parent):
            time.sleep(1.5 * of.lease_seconds)
        of.progresses()


def folder_blocked(of: World) -> None:
    """The folder of the runs' folders cannot be written for a while."""
    of.add(1000 if of.long else 60)
    for agent in (of.agent(), of.agent()):
        of.name(agent)
    of.progresses()
    for _ in range(5 if of.long else 1):
        with faults.blocked(of.root / "runs"):
            time.sleep(1.5 * of.lease_seconds)
        of.progresses()


SCENARIOS = (
    Scenario(
        "adder-killed", "`kill -9` of an adder in the middle of its push", adder_killed, options={"seconds": 0.01}
    ),
    Scenario("agents-killed", "`kill -9` of agents at random moments", agents_killed, options={"seconds": 0.1}),
    Scenario(
        "agents-die-between",
        "`kill -9` of agents right before and after each of their reports",
        agents_die_between,
        options={"seconds": 0.7},
    ),
    Scenario("machine-lost", "`kill -9` of the only agent of a machine", machine_lost, options={"seconds": 0.5}),
    Scenario(
        "agent-stopped", "SIGSTOP of an agent beyond its lease, then SIGCONT", agent_stopped, options={"seconds": 0.4}
    ),
    Scenario("clock-jumps", "agents' clocks jump an hour forth and back", clock_jumps),
    Scenario("server-fast", "PostgreSQL restarts, fast", server_restarts("fast"), ("postgres",)),
    Scenario("server-immediate", "PostgreSQL restarts, immediate", server_restarts("immediate"), ("postgres",)),
    Scenario("server-killed", "`kill -9` of PostgreSQL", server_restarts("kill"), ("postgres",)),
    Scenario("backends-ended", "PostgreSQL's backends ended, again and again", backends_ended, ("postgres",)),
    Scenario(
        "no-connections",
        "all of PostgreSQL's connections taken by others",
        connections_exhausted,
        ("postgres",),
        settings=("max_connections=20",),
    ),
    Scenario("busy-writers", "eight processes add, cancel and list at once", busy_writers),
    Scenario("disk-full", "the disk of the runs, and of an SQLite store, is full", disk_full, disk="80m"),
    Scenario("folder-blocked", "the folder of the runs cannot be written", folder_blocked),
)
