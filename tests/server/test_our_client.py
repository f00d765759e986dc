"""Our own client, the store `wandb+http://…`, against our server: the list of calls that W&B's clients run, and faults
between the two, after which each item is there once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.errors import AccessError, LaunchError, StoreError
from launcher.item import AgentInfo, ItemFilter, JobVersion, RunState, Sweep
from launcher.outcome import Failed, Finished
from launcher.queues import Store, open_store
from launcher.queues.wandb.client import CLIENTS, retry_after
from launcher.spec import LaunchSpec
from tests.conftest import Project, until
from tests.server.conftest import Served
from tests.server.proxy import Proxy

AGENT = AgentInfo("ours", "here", 1, 0.0, (), 1, 0.0, 0.0)
FAULTS = {"lost": 0.10, "bad_gateway": 0.05, "limited": 0.05}
ITEMS = 1000
SWEEP = f"""
import launcher
points = ({{"config": {{"overrides": {{"run_config": {{"n": n}}}}}}}} for n in range({ITEMS}))
print(launcher.launch_sweep("big", points, docker_image="a:1", queue_name="gpu", project="demo").added)
"""


@pytest.fixture
def there(served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    """The server, as the store of this process, with a queue."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_API_KEY", served.keys["ann"])
    monkeypatch.setenv("LAUNCHER_STORE", f"wandb+{served.url}")
    variables = {"size": {"type": "string", "default": "small"}}
    arguments = {"local-container": {"env": {"SIZE": "{{size}}"}}}
    launcher.Queues().create("gpu", resource="local-container", resource_args=arguments, variables=variables)
    yield served
    CLIENTS.clear()


def add(**more: Any) -> launcher.QueuedRun:
    return launcher.launch_add(**{"docker_image": "a:1", "queue_name": "gpu", "project": "demo", **more})


def remote(served: Served) -> list[Any]:
    return list(served.store.items(ItemFilter(queue="gpu")))


def run_there(served: Served, outcome: Any) -> None:
    """An agent beside the server runs the next item."""
    served.store.register(AGENT)
    (lease,) = served.store.pop(AGENT.id, ["gpu"], 1)
    served.store.ack([(lease, {"pid": 1}, "")])
    if outcome:
        served.store.finish([(lease, outcome)])


def fresh(run: launcher.QueuedRun, wanted: RunState) -> None:
    until(lambda: run.state is wanted, f"the state {wanted}")


def test_a_run_is_added_with_priority_and_variables_which_the_server_fills_in(there: Served) -> None:
    run = add(priority="high", template_variables={"size": "big"}, name="named", author="ann")
    (item,) = remote(there)
    document = there.store.document(item.id)
    assert (item.id, item.priority, item.name, run.state) == (run.id, 1, "named", RunState.PENDING)
    assert document["resource_args"] == {"local-container": {"env": {"SIZE": "big"}}}
    assert (document["entity"], document["project"], document["author"]) == ("team", "demo", "ann")


def test_all_problems_are_told_before_anything_is_sent(there: Served) -> None:
    with pytest.raises(LaunchError) as error:
        add(
            template_variables={"sise": 1},
            docker_image="",
            uri=".",
            resource_args={"local-container": {"privileged": True}},
            config={"limits": {"gpus": 1}, "git": {"in_place": True}},
        )
    told = str(error.value)
    for part in ("did you mean 'size'", "in_place: means nothing", "limits: means nothing", "privileged: is refused"):
        assert part in told
    assert remote(there) == []


def test_the_servers_own_words_reach_the_user(there: Served) -> None:
    queue = launcher.Queues().show("gpu")
    stored = next(each for each in there.store.queues() if each.name == "gpu")
    with closing(open_store(f"wandb+{there.url}")) as store:
        there.store.update_queue(replace(stored, allow_overrides=False))
        spec = LaunchSpec({**_document(), "resource_args": {"local-container": {"cpus": 1}}}, queue.name)
        with pytest.raises(StoreError, match="allows none of its own"):
            store.push(Sweep("s"), [spec])
        (item,) = store.items(ItemFilter(sweep="s"))
    assert (item.state, item.stage) == (RunState.FAILED, "push")


def test_only_a_sweep_of_the_servers_own_is_named_to_a_server_that_is_not_ours(
    there: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.server.graph.FEATURES", ())
    CLIENTS.clear()  # which have asked already
    made = there.data(
        """mutation S { upsertSweep(input: {entityName: "team", projectName: "demo",
        config: "{method: grid, parameters: {lr: {values: [1]}}}"}) { sweep { name } } }"""
    )["upsertSweep"]["sweep"]["name"]
    runs = {name: add(sweep_id=name).id for name in ("of-ours", made)}
    told = {item.name or item.id: there.store.document(item.id).get("sweep_id") for item in remote(there)}
    assert told == {runs["of-ours"]: None, runs[made]: made}
    with closing(open_store(f"wandb+{there.url}")) as store:
        assert {item.sweep for item in store.items(ItemFilter())} == set(runs)


def _document() -> dict[str, Any]:
    document = {"entity": "team", "project": "p", "docker": {"docker_image": "a:1"}, "git": {}, "overrides": {}}
    return document | {"resource": "local-container", "author": "ann"}


@pytest.mark.parametrize(
    ("outcome", "state", "result"),
    [
        (Finished({"accuracy": 0.9}), RunState.FINISHED, {"accuracy": 0.9}),
        (Failed("run", "exit code 1", 1, {"accuracy": 0.1}), RunState.FAILED, {"accuracy": 0.1}),
    ],
)
def test_a_run_is_waited_for_and_its_summary_is_its_result(
    outcome: Any, state: RunState, result: dict[str, Any], there: Served
) -> None:
    run = add()
    run_there(there, outcome)
    done = run.wait_until_finished(timeout=30)
    assert (done.state, done.result) == (state, result)


def test_what_waits_is_deleted_there_and_what_runs_is_stopped(there: Served) -> None:
    waiting, running = add(priority=3), add(priority=0)
    run_there(there, None)
    fresh(running, RunState.RUNNING)
    waiting.cancel()
    running.cancel()
    assert waiting.state is RunState.CANCELLED
    assert [item.id for item in remote(there)] == [running.id]
    assert remote(there)[0].stop_requested
    other = add()
    other.delete()
    assert [item.id for item in remote(there)] == [running.id]


def test_results_outlive_the_queue_that_their_runs_were_on(there: Served) -> None:
    finished, failed, waiting = (add(priority=priority) for priority in range(3))
    run_there(there, Finished({"accuracy": 0.9}))
    run_there(there, Failed("run", "exit code 1", 1, {"accuracy": 0.1}))
    there.store.delete(ItemFilter(ids=(waiting.id,)))
    there.store.delete_queue("gpu")
    for run, wanted, result in (
        (finished, RunState.FINISHED, {"accuracy": 0.9}), (failed, RunState.FAILED, {"accuracy": 0.1}),
        (waiting, RunState.CANCELLED, None),
    ):  # fmt: skip
        fresh(run, wanted)
        with closing(open_store(f"wandb+{there.url}")) as store:
            assert store.item(run.id).result == result


def test_a_failed_run_is_retried_there_as_another_attempt(there: Served) -> None:
    run = add()
    run_there(there, Failed("run", "exit code 1", 1))
    fresh(run, RunState.FAILED)
    with closing(open_store(f"wandb+{there.url}")) as store:
        assert store.retry(ItemFilter(ids=(run.id,)), "ann") == 1
    (item,) = remote(there)
    assert (item.id, item.state) == (run.id, RunState.PENDING)


def test_a_job_is_named_by_its_version_and_looked_up_there(there: Served) -> None:
    there.store.keep_job(JobVersion("team/demo/train", "image", {"docker": {"docker_image": "a:1"}}, ("train",)))
    run = add(docker_image="", job="team/demo/train:latest")
    document = there.store.document(run.id)
    assert (document["job"], document["docker"]) == ("team/demo/train:v0", {"docker_image": "a:1"})
    with pytest.raises(LaunchError, match="no job named 'team/demo/tarin'"):
        add(docker_image="", job="team/demo/tarin:latest")


def test_queues_are_made_shown_changed_and_deleted(there: Served) -> None:
    queues = launcher.Queues()
    queues.create("other", resource="kubernetes", prioritization="DISABLED", links={"docs": "http://x"})
    assert queues.show("other").links == {"docs": "http://x"}
    queues.update("other", prioritization="V0")
    assert queues.show("other").prioritization == "V0"
    assert [queue.name for queue in queues.list()] == ["gpu", "other"]
    queues.delete("other")
    assert [queue.name for queue in queues.list()] == ["gpu"]
    with pytest.raises(LaunchError, match="W&B's queues have no max_running"):
        queues.create("limited", max_running=2)
    with pytest.raises(LaunchError, match="cannot pause"):
        queues.pause("gpu")
    with pytest.raises(LaunchError, match="did you mean 'gpu'"):
        add(queue_name="gpus")


def test_what_the_protocol_cannot_do_is_said(there: Served) -> None:
    with closing(open_store(f"wandb+{there.url}")) as store:
        with pytest.raises(StoreError, match="cannot change priorities of waiting items"):
            store.set_priority(ItemFilter(), 0)
        with pytest.raises(StoreError, match="cannot pause items"):
            store.hold(ItemFilter())


@pytest.mark.parametrize("user", ["api:secretsecret", ":secretsecret", "secretsecret"])
def test_an_address_with_a_key_is_refused_without_showing_it(user: str) -> None:
    with pytest.raises(StoreError, match="WANDB_API_KEY") as refused:
        open_store(f"wandb+http://{user}@127.0.0.1:1")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("key", "told"), [("", "no API key"), ("k" * 40, "API key invalid or revoked")])
def test_a_wrong_key_is_told_and_never_printed(
    key: str, told: str, there: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(AccessError, match=told) as error:
        add()
    assert not key or key not in str(error.value)


def test_the_key_may_be_netrcs(there: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login user password {there.keys['ann']}\n")
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert add().entity == ""
    assert len(remote(there)) == 1


def test_a_sweep_is_added_from_the_command_line_and_followed(there: Served, project: Project) -> None:
    project.write("conf/launch/there.yaml", "queue_name: gpu\ndocker_image: a:1\nproject: demo\n")
    grid = ["-m", "+launch=there", "lr=0.1,0.2", "seed=1,2", "--sweep", "s"]
    done = project.run("add", *grid)
    assert (done.code, len(remote(there))) == (0, 4), done.err
    again = project.run("add", *grid, "seed=1,2,3")
    assert (again.code, len(remote(there))) == (0, 6), again.err
    run_there(there, Finished({"accuracy": 0.5}))
    assert "1 finished" in project.run("status", "s").out
    assert "0.5" in project.run("results", "s").out
    assert project.run("failures", "s").out == "none of 6 runs failed\n"
    assert (
        project.run("results", "s", "--group-by", "lr", "--state", "pending").out.splitlines()[-1].startswith("means")
    )
    with closing(open_store(f"wandb+{there.url}")) as store:
        states = [record.state for record in store.run_records(ItemFilter(sweep="s"))]
        assert states == [item.state.value for item in store.items(ItemFilter(sweep="s"))]
        assert [record.state for record in store.newest(ItemFilter(sweep="s"), 1)] == ["finished"]
        assert store.progress(ItemFilter(sweep="s"), 0.0).ended == 1
        with pytest.raises(StoreError, match="cannot notify: the server's agents run its items"):
            store.push(Sweep("n", notify=({"command": ["a"], "on": ["end"]},)), [])
    with closing(open_store(f"wandb+{there.url}")) as store:
        waiting = list(store.items(ItemFilter(queue="gpu")))[-1].id
    assert "state      pending" in project.run("show", waiting).out
    with closing(open_store(f"wandb+{there.url}")) as store:
        assert store.ahead(waiting) == 4
    assert project.run("cancel", "s").code == 0
    assert [item.state for item in remote(there)] == [RunState.FINISHED]


def exactly_once(served: Served) -> None:
    items = remote(served)
    numbers = [served.store.document(item.id)["overrides"]["run_config"]["n"] for item in items]
    assert sorted(numbers) == list(range(ITEMS))


def port_of(served: Served) -> int:
    return int(served.url.rpartition(":")[2])


def push_all(served: Served, proxy: Proxy) -> Store:
    store = open_store(f"wandb+{proxy.url}/team")
    specs = (LaunchSpec({**_document(), "overrides": {"run_config": {"n": number}}}, "gpu") for number in range(ITEMS))
    store.push(Sweep("big"), specs)
    return store


@pytest.mark.parametrize(("together", "scanning"), [(16, False), (16, True), (1, False)])
def test_faults_on_the_way_lose_no_item_and_double_none(
    together: int, scanning: bool, there: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scanning:  # as with W&B's own server, which is searched for markers
        monkeypatch.setattr("launcher.queues.wandb.client.ITEM_ID_IS_RUN_ID", "no such feature")
    monkeypatch.setattr("launcher.queues.wandb.outbox.TOGETHER", together)
    proxy = Proxy(port_of(there), FAULTS)
    push_all(there, proxy).close()
    proxy.close()
    exactly_once(there)
    assert proxy.seen["lost"] > 3
    assert proxy.seen["limited"] > 1


def test_a_client_that_is_killed_ten_times_completes_its_sweep_by_the_same_command(
    there: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = Proxy(port_of(there), {"lost": 0.1}, seconds=0.05)
    environment = {**there.environment(), "XDG_DATA_HOME": str(tmp_path / "data")}
    environment["LAUNCHER_STORE"] = f"wandb+{proxy.url}/team"
    program = SWEEP.replace("import launcher", "import launcher, launcher.queues.wandb.outbox as o; o.TOGETHER = 2", 1)

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    for _ in range(10):
        before = len(remote(there))
        process = start()
        until(lambda before=before, process=process: len(remote(there)) > before + 10 or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = start()
    _, err = last.communicate(timeout=100)
    proxy.close()
    assert last.returncode == 0, err
    exactly_once(there)


def test_a_retry_after_is_read_in_both_its_forms() -> None:
    assert retry_after("1.5") == 1.5
    assert retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0.0
    assert retry_after("tomorrow") is None
