"""What an agent may rely on, whichever store it works with: one beside it, a server of ours over HTTP, or one that
knows W&B's operations only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import Agent, AgentEvent
from launcher.item import Item, ItemFilter, Lease, RunState
from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.queues import Store, open_store
from launcher.queues.wandb.client import CLIENTS
from launcher.series import pack, unpack
from launcher.slots import Room
from launcher.spec import LaunchSpec, Source
from tests.conftest import until
from tests.queues.steps import agent
from tests.server.conftest import Served
from tests.server.elsewhere import Code

HANDLE = {"pid": 4}
FENCED = pytest.mark.parametrize("seat", ["beside", "server"], indirect=True)
"""For what W&B's operations have nothing for: leases that can be lost to others, and room."""

NARROW = Room(1.0, 1e9, 0, 1.0, 1e9, 0, 0.0)


@dataclass
class Seat:
    """The store of an agent, and the one that its items lie in. `fences`: whether leases have tokens there."""

    store: Store
    beside: Store
    folder: Path
    fences: bool
    again: Callable[[], Store]
    code: Code
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def push(self, number: int = 1, **more: Any) -> list[str]:
        source = Source(None, str(self.code.remote), self.code.commit).fields()
        document = {"entity": "", "project": "", "docker": {}, "resource": "local-process", **source}
        overrides = {"overrides": {"entry_point": ["true"]}}
        named = [{"run_id": f"run{next(self.numbers)}"} for _ in range(number)]
        specs = [LaunchSpec({**document, **overrides, **more, **each}, "default") for each in named]
        return list(self.beside.push(None, specs).ids)

    def take(self, name: str = "a") -> Lease:
        self.push()
        (lease,) = self.store.pop(name, ["default"], 1)
        return lease

    def run(self, name: str = "a") -> Lease:
        lease = self.take(name)
        assert self.store.ack([(lease, HANDLE, str(self.folder))]) == [True]
        return lease

    def item(self, lease: Lease) -> Item:
        return self.beside.item(lease.item.id)


@pytest.fixture(params=["beside", "server", "wandb"])
def seat(
    request: pytest.FixtureRequest, served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Seat]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_API_KEY", served.keys["hal"])
    CLIENTS.clear()
    if request.param == "wandb":
        monkeypatch.setattr("launcher.queues.wandb.client.LEASES", "no such feature")
    url = served.store.url if request.param == "beside" else f"wandb+{served.url}/home"
    monkeypatch.setattr("launcher.queues.wandb.agent.LOOK_SECONDS", {True: 0.0, False: 0.0})
    with closing(open_store(url)) as store:
        store.register(agent("a"))
        yield Seat(
            store,
            served.store,
            tmp_path,
            request.param != "wandb",
            lambda: open_store(url),
            Code.pushed(tmp_path / "code"),
        )
    CLIENTS.clear()


def test_an_item_is_taken_with_all_that_it_says(seat: Seat) -> None:
    (item_id,) = seat.push(overrides={"entry_point": ["true"], "run_config": {"lr": 0.1}}, name="named")
    (lease,) = seat.store.pop("a", ["default"], 5)
    assert (lease.item.id, lease.item.queue, lease.item.name, lease.item.attempt) == (item_id, "default", "named", 1)
    assert lease.document["overrides"] == {"entry_point": ["true"], "run_config": {"lr": 0.1}}
    assert seat.beside.item(item_id).state is RunState.LEASED
    assert seat.store.pop("a", ["default"], 5) == []
    assert seat.store.leases("a") == {lease.token: False}
    assert [held.token for held in seat.store.held("a")] == [lease.token]
    assert seat.store.valid([lease.token, "other"]) == {lease.token}


def test_what_was_begun_runs_and_its_handle_is_found_again(seat: Seat) -> None:
    lease = seat.run()
    assert seat.item(lease).state is RunState.RUNNING
    with closing(seat.again()) as store:
        (held,) = store.held("a")
    assert (held.token, held.item.handle, held.item.run_dir) == (lease.token, HANDLE, str(seat.folder))


@pytest.mark.parametrize(
    ("outcome", "state", "stage", "code", "result"),
    [
        (Finished({"accuracy": 0.9}), RunState.FINISHED, None, 0, {"accuracy": 0.9}),
        (Failed("run", "exit code 3", 3, {"accuracy": 0.1}), RunState.FAILED, "run", 3, {"accuracy": 0.1}),
        (Failed("timeout", "ran for too long"), RunState.FAILED, "timeout", None, None),
    ],
)
def test_how_a_run_ended_is_told_once(
    outcome: Outcome, state: RunState, stage: str | None, code: int | None, result: Any, seat: Seat
) -> None:
    lease = seat.run()
    assert seat.store.finish([(lease, outcome)]) == [True]
    item = seat.item(lease)
    assert (item.state, item.stage) == (state, stage)
    if seat.fences:  # W&B's operation has no place for an exit code
        assert (item.exit_code, item.result or None) == (code, result)
    assert seat.store.leases("a") == {}
    assert seat.store.held("a") == []
    ends = [event.after for event in seat.beside.events(item.id)]
    assert ends.count(state) == 1


def test_what_could_not_be_started_failed_with_its_stage(seat: Seat) -> None:
    lease = seat.take()
    assert seat.store.finish([(lease, Failed("prepare", "no such commit"))]) == [True]
    item = seat.item(lease)
    assert (item.state, item.stage, item.reason) == (RunState.FAILED, "prepare", "no such commit")


def test_a_run_that_somebody_cancels_is_to_be_stopped(seat: Seat) -> None:
    lease = seat.run()
    assert seat.beside.cancel(ItemFilter(ids=(lease.item.id,)), "ann") == (0, 1)
    assert seat.store.leases("a") == {lease.token: True}
    assert seat.store.finish([(lease, Cancelled())]) == [True]
    assert seat.item(lease).state is RunState.CANCELLED


@pytest.mark.parametrize("outcome", [Preempted("its agent stopped"), Lost("gone")])
def test_what_is_put_back_waits_again_and_is_taken_anew(outcome: Outcome, seat: Seat) -> None:
    seat.push(1, retry={"attempts": 3})
    (lease,) = seat.store.pop("a", ["default"], 1)
    seat.store.ack([(lease, HANDLE, str(seat.folder))])
    assert seat.store.finish([(lease, outcome)]) == [True]
    assert seat.item(lease).state is RunState.PENDING
    (again,) = until(lambda: seat.store.pop("a", ["default"], 1), "another attempt")
    assert (again.item.id, again.item.attempt) == (lease.item.id, 2)
    assert again.token != lease.token
    seat.store.ack([(again, HANDLE, str(seat.folder))])
    assert seat.store.finish([(again, Finished({"a": 1}))]) == [True]
    assert seat.item(again).state is RunState.FINISHED


@FENCED
@pytest.mark.parametrize("points", [[{"step": 1, "loss": 0.5}], []])
def test_a_later_attempts_series_is_its_own(points: list[Any], seat: Seat) -> None:
    lease = seat.run()
    before = pack([{"step": step, "loss": 9.0} for step in range(5)])
    assert seat.store.finish([(lease, Failed("run", "exit code 3", 3, {"loss": 9.0}, before))]) == [True]
    assert len(unpack(seat.beside.series([lease.item.id])[lease.item.id])) == 5
    assert seat.beside.retry(ItemFilter(ids=(lease.item.id,)), "ann") == 1
    (again,) = until(lambda: seat.store.pop("a", ["default"], 1), "another attempt")
    seat.store.ack([(again, HANDLE, str(seat.folder))])
    assert seat.store.finish([(again, Finished({"loss": 0.5}, pack(points)))]) == [True]
    found = seat.beside.series([lease.item.id]).get(lease.item.id)
    assert (unpack(found) if found else []) == points


@FENCED
def test_a_lease_that_was_taken_away_writes_nothing(seat: Seat) -> None:
    lease = seat.run()
    (held,) = seat.beside.agents()
    assert seat.beside.release(held.id, "silent") == 1
    assert seat.store.leases("a") == {}
    assert seat.store.finish([(lease, Finished({"a": 1}))]) == [False]
    assert seat.item(lease).state is not RunState.FINISHED


def test_what_a_dead_agent_held_is_adopted_once(seat: Seat) -> None:
    lease = seat.run()
    beats = next(each.beats for each in seat.store.agents() if each.id == "a")
    seat.store.heartbeat("a")
    seat.store.register(agent("b"))
    assert seat.store.adopt("a", "b", beats=beats) == []  # it was heard of
    (adopted,) = seat.store.adopt("a", "b")
    assert (adopted.token, adopted.item.handle) == (lease.token, HANDLE)
    assert seat.store.adopt("a", "b") == []
    assert [each.id for each in seat.store.agents()] == ["b"]
    assert seat.store.leases("b") == {lease.token: False}
    assert seat.store.finish([(adopted, Finished({"a": 1}))]) == [True]
    assert seat.item(lease).state is RunState.FINISHED


def test_who_leaves_holds_nothing(seat: Seat) -> None:
    leased, running = seat.take(), seat.run()
    seat.store.leave("a")
    assert seat.store.agents() == []
    assert {seat.item(lease).state for lease in (leased, running)} <= {RunState.PENDING, RunState.FAILED}


def test_what_ended_is_told_and_the_next_taken_in_one(seat: Seat) -> None:
    lease = seat.run()
    (waiting,) = seat.push()
    _, done, taken = seat.store.exchange("a", [], [(lease, Finished())], ["default"], 1)
    assert (done, [each.item.id for each in taken]) == ([True], [waiting])


@FENCED
def test_an_agent_gets_what_fits_its_room(seat: Seat) -> None:
    seat.push(resource_args={"local-process": {"gpus": 1}})
    (small,) = seat.push(resource_args={"local-process": {"cpus": 1}})
    assert [lease.item.id for lease in seat.store.pop("a", ["default"], 1, NARROW)] == [small]
    assert seat.store.pop("a", ["default"], 1, NARROW) == []


def test_a_whole_agent_works_with_it(seat: Seat) -> None:
    good = seat.push(3)
    (bad,) = seat.push(overrides={"entry_point": ["sh", "-c", "echo told; exit 5"]})
    events: list[AgentEvent] = []
    Agent(seat.store, seat.folder / "far", queues=["default"], drain=True, listen=events.append).run()
    assert {seat.beside.item(each).state for each in good} == {RunState.FINISHED}
    item = seat.beside.item(bad)
    assert (item.state, item.stage, item.reason) == (RunState.FAILED, "run", "exit code 5: told")
    assert [event.kind for event in events].count("ended") == 4
    assert (Path(item.run_dir or "") / "output.log").read_text() == "told\n"
