"""Agents of ours on another machine, with a server's address and a key, and nothing else of its store."""

from __future__ import annotations

import importlib.util
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.item import ItemFilter, RunState
from launcher.outcome import Failed, Finished
from launcher.queues import Store, open_store
from launcher.queues.wandb.client import CLIENTS
from launcher.series import POINTS, pack, unpack
from tests.conftest import Project, needs, until
from tests.server.elsewhere import Code, Machine, Server, adder, ended_once, push, reaches, states
from tests.server.proxy import Proxy
from tests.services import Postgres

FAULTS = {"lost": 0.08, "bad_gateway": 0.06, "limited": 0.05, "reset": 0.04}
ITEMS = 30
WITH_WANDB = """
import sys, wandb
run = wandb.init()
print("hello", flush=True)
run.log({"loss": 0.5})
run.summary["best"] = 7
run.finish()
sys.exit(4)
"""


@pytest.fixture(params=["sqlite"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The store of the server, of each kind that a test asks for."""
    url = f"sqlite:///{tmp_path}/store/store.db"
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.database()
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def server(anywhere: Store, tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("graphql", reason="no extra server: launcher[server] is not installed")
    made = Server(anywhere, tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "far")
    yield machine
    machine.close()


@pytest.fixture
def code(tmp_path: Path) -> Code:
    return Code.pushed(tmp_path / "code")


def test_a_sweep_runs_elsewhere_to_its_end_and_is_seen_beside_the_server(
    server: Server, far: Machine, code: Code, project: Project
) -> None:
    adder(project, code)
    named = ["--store", server.store.url]
    command = ["--", "python", "train.py", str(code.told), "-", "0"]
    added = project.run("add", *named, "--sweep", "s", "-m", "model=svm,mlp", "seed=1,2", *command)
    assert added.code == 0, added.err
    there = project.folder.rename(project.folder.with_name("away"))
    ended, told = far.run(server.url, server.keys["ann"], "--drain", "--max-jobs", "2")
    assert (ended, told.count("\nfinished")) == (0, 4), told
    there.rename(project.folder)
    assert "4 finished" in project.run("results", "s", *named).out
    assert project.run("status", "s", *named).out.count("4") >= 1
    items = list(server.store.items(ItemFilter()))
    ended_once(server.store, [item.id for item in items])
    assert sorted(code.begun()) == sorted(item.id for item in items)
    assert [(item.exit_code, item.result) for item in items] == [(0, {"loss": 0.5, "accuracy": 0.9})] * 4
    shown = project.run("show", items[0].id, *named).out
    assert "result     " in shown
    assert "accuracy=0.9" in shown
    assert project.run("logs", items[0].id, *named).out == "begins\nends\n"
    assert unpack(server.store.series([items[0].id])[items[0].id]) == [{"step": 1, "loss": 0.5}]
    assert {path.name for path in far.home.iterdir()} == {".local"}  # all of it is its own


@pytest.mark.parametrize("anywhere", ["sqlite", "postgresql"], indirect=True)
def test_whatever_is_lost_on_the_way_each_item_runs_once(server: Server, far: Machine, code: Code) -> None:
    ids = push(server.store, [code.spec() for _ in range(ITEMS)])
    proxy = Proxy(server.port, FAULTS)
    ended, told = far.run(proxy.url, server.keys["ann"], "--drain", "--max-jobs", "3")
    proxy.close()
    assert ended == 0, told
    assert proxy.seen["lost"] > 3
    assert proxy.seen["reset"] > 1
    if RunState.PENDING in states(server.store):  # it left while a lease was on its way to it
        far.run(server.url, server.keys["ann"], "--drain")
    ended_once(server.store, ids)
    assert sorted(code.begun()) == sorted(ids)


def test_what_fails_arrives_with_its_stage_its_reason_and_its_log(
    server: Server, far: Machine, code: Code, project: Project
) -> None:
    gone = replace(code, commit="0" * 40).spec(folder="/nowhere/code")
    failing, missing = push(server.store, [code.spec(code=3), gone])
    far.run(server.url, server.keys["ann"], "--drain")
    item = server.store.item(failing)
    assert (item.state, item.stage, item.exit_code) == (RunState.FAILED, "run", 3)
    assert item.reason == "exit code 3: ends"
    assert item.result == {"loss": 0.5, "accuracy": 0.9}
    assert project.run("logs", failing, "--store", server.store.url).out == "begins\nends\n"
    item = server.store.item(missing)
    assert (item.state, item.stage) == (RunState.FAILED, "prepare")
    assert item.reason == (
        f"commit {'0' * 40} is to be had on the machine of /nowhere/code only: it was in no remote when it was "
        "added; push it, and add with --again"
    )


def test_uncommitted_changes_come_from_the_servers_store(
    server: Server, far: Machine, code: Code, project: Project
) -> None:
    adder(project, code)
    project.write("train.py", "print('changed')\n")
    added = project.run("add", "--store", server.store.url, "--sweep", "s", "--", "python", "train.py")
    assert added.code == 0, added.err
    project.folder.rename(project.folder.with_name("away"))
    far.run(server.url, server.keys["ann"], "--drain")
    (item,) = server.store.items(ItemFilter())
    assert item.state is RunState.FINISHED, item.reason
    assert (Path(item.run_dir or "") / "output.log").read_text() == "changed\n"


def test_a_program_that_calls_wandb_reports_by_itself(
    server: Server, far: Machine, code: Code, project: Project
) -> None:
    needs("wandb", importlib.util.find_spec("wandb") is not None, "the package is not installed")
    adder(project, code)
    project.write("train.py", WITH_WANDB)
    assert project.run("add", "--store", server.store.url, "--sweep", "s", "--", "python", "train.py").code == 0
    project.folder.rename(project.folder.with_name("away"))
    quiet = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    ended, told = far.run(server.url, server.keys["ann"], "--drain", **quiet)
    (item,) = server.store.items(ItemFilter())
    assert (ended, item.state, item.exit_code) == (0, RunState.FAILED, 4), told
    assert item.result == {"loss": 0.5, "best": 7}
    log = (Path(item.run_dir or "") / "output.log").read_text()
    assert log.count("hello") == 1


def test_who_cancels_beside_the_server_ends_the_run(server: Server, far: Machine, code: Code, tmp_path: Path) -> None:
    (item_id,) = push(server.store, [code.spec(wait=tmp_path / "never")])
    agent = far.start(server.url, server.keys["ann"], "--drain")
    reaches(server.store, item_id, RunState.RUNNING)
    server.store.cancel(ItemFilter(ids=(item_id,)), "ann")
    assert agent.wait(60) == 0
    assert server.store.item(item_id).state is RunState.CANCELLED


def test_what_an_agent_runs_that_is_killed_goes_on_with_the_next_one(
    server: Server, far: Machine, code: Code, tmp_path: Path
) -> None:
    ids = push(server.store, [code.spec(wait=tmp_path / "go") for _ in range(3)])
    agent = far.start(server.url, server.keys["ann"], "--max-jobs", "2")
    until(lambda: len(code.begun()) == 2 and states(server.store).count(RunState.RUNNING) == 2, "two runs")
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    (tmp_path / "go").touch()
    ended, told = far.run(server.url, server.keys["ann"], "--drain", "--max-jobs", "2")
    assert ended == 0
    assert "died: 2 items taken over" in told
    ended_once(server.store, ids)
    assert sorted(code.begun()) == sorted(ids)
    logs = [(Path(server.store.item(each).run_dir or "") / "output.log").read_text() for each in ids]
    assert logs == ["begins\nends\n"] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_is_started_again_misses_nothing(
    number: int, server: Server, far: Machine, code: Code, tmp_path: Path
) -> None:
    ids = push(server.store, [code.spec(wait=tmp_path / "go") for _ in range(3)])
    agent = far.start(server.url, server.keys["ann"], "--drain", "--max-jobs", "2")
    until(lambda: len(code.begun()) == 2, "two runs")
    server.stop(number)
    (tmp_path / "go").touch()
    assert agent.stdout
    until(lambda: "cannot be reached" in agent.stdout.readline(), "the agent's word")
    server.start()
    assert agent.wait(60) == 0
    ended_once(server.store, ids)
    assert sorted(code.begun()) == sorted(ids)


def test_an_agent_that_is_stopped_puts_its_runs_back(server: Server, far: Machine, code: Code, tmp_path: Path) -> None:
    (item_id,) = push(server.store, [code.spec(wait=tmp_path / "go")])
    agent = far.start(server.url, server.keys["ann"])
    reaches(server.store, item_id, RunState.RUNNING)
    assert agent.stdout
    for told in ("waiting for what runs", "ending what runs"):
        agent.send_signal(signal.SIGINT)
        until(lambda told=told: told in agent.stdout.readline(), "the agent's word")
    assert agent.wait(60) == 0
    item = server.store.item(item_id)
    assert (item.state, item.max_attempts) == (RunState.PENDING, 4)  # one more: it was no fault of its own
    assert not server.store.agents()
    (tmp_path / "go").touch()
    far.run(server.url, server.keys["ann"], "--drain")
    ended_once(server.store, [item_id])


@pytest.mark.parametrize(
    ("who", "where", "told"),
    [
        ("eve", "", "permission denied: 'eve' is viewer of entity 'team', which needs member"),
        ("bob", "/team", "permission denied: 'bob' has no access to entity 'team'"),
        ("nobody", "", "API key invalid or revoked"),
        (None, "", "no API key for 127.0.0.1; set WANDB_API_KEY"),
    ],
)
def test_a_key_that_may_run_nothing_is_told_so_at_once(
    who: str | None, where: str, told: str, server: Server, far: Machine, code: Code
) -> None:
    push(server.store, [code.spec()])
    key = {**server.keys, "nobody": "k" * 40}[who] if who else None
    ended, said = far.run(f"{server.url}{where}", key, "--drain")
    assert ended == 1
    assert told in said
    assert "Traceback" not in said
    assert key is None or key not in said
    assert states(server.store) == [RunState.PENDING]


@pytest.mark.parametrize("command", [["agent", "--submit-only"], ["sync"]])
def test_what_needs_a_store_beside_it_says_so(
    command: list[str], server: Server, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_API_KEY", server.keys["ann"])
    done = project.run(*command, "--store", f"wandb+{server.url}")
    assert (done.code, done.out) == (2, "")
    assert "works beside a store only" in done.err


def test_a_series_that_is_larger_than_one_request_arrives_whole(
    server: Server, code: Code, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tests.queues.steps import agent

    (item_id,) = push(server.store, [code.spec()])
    monkeypatch.setenv("WANDB_API_KEY", server.keys["ann"])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    points = [{"step": step, **{f"metric {n}": step / 7 for n in range(45)}} for step in range(POINTS)]
    with closing(open_store(f"wandb+{server.url}")) as store:
        store.register(agent("a"))
        (lease,) = store.pop("a", ["default"], 1)
        store.ack([(lease, {"pid": 1}, str(tmp_path))])
        assert store.finish([(lease, Finished({"accuracy": 0.9}, pack(points)))]) == [True]
    CLIENTS.clear()
    found = server.store.item(item_id)
    assert (found.state, found.reason) == (RunState.FINISHED, None)
    assert unpack(server.store.series([item_id])[item_id]) == points


def test_a_lease_that_went_to_another_agent_ends_nothing_of_its(
    server: Server, code: Code, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An agent that was taken for lost, beside the one that has its item now."""
    from tests.queues.steps import agent

    (item_id,) = push(server.store, [code.spec()])
    monkeypatch.setenv("WANDB_API_KEY", server.keys["ann"])
    leases = {}
    for name in ("first", "second"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / name))
        with closing(open_store(f"wandb+{server.url}")) as store:
            store.register(agent(name))
            (leases[name],) = store.pop(name, ["default"], 5)
            assert store.ack([(leases[name], {"pid": 1}, str(tmp_path / name))]) == [True]
            assert store.leases(name) == {leases[name].token: False}
        if name == "first":
            (held,) = server.store.agents()
            assert server.store.release(held.id, "silent") == 1
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "first"))
    with closing(open_store(f"wandb+{server.url}")) as store:
        store.register(agent("first"))
        for outcome in (Finished({"accuracy": 0.1}), Failed("run", "exit code 1", 1)):
            assert store.finish([(leases["first"], outcome)]) == [False]
        assert store.leases("first") == {}
    assert server.store.item(item_id).state is RunState.RUNNING
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "second"))
    with closing(open_store(f"wandb+{server.url}")) as store:
        done = [store.finish([(leases["second"], Finished({"accuracy": 0.9}))]) for _ in range(2)]
        assert done == [[True], [True]]  # told again, as after a reply that was lost
    assert server.store.item(item_id).result == {"accuracy": 0.9}
    CLIENTS.clear()
    shutil.rmtree(tmp_path / "first")
