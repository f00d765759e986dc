"""What agents and clients may rely on, request by request: leases, acknowledgements, preemption, streams, uploads."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from launcher.item import ItemFilter, JobVersion, RunState
from launcher.queues import open_store
from launcher.server import agents
from launcher.server.access import Accounts, User, add_user
from launcher.server.desk import Desk
from launcher.server.storage import Storage
from tests.conftest import until
from tests.server.conftest import Served, serving
from tests.services import Postgres

QUEUE = """mutation Q($name: String!) { createRunQueue(input: {entityName: "team", projectName: "p", queueName: $name,
access: PROJECT, prioritizationMode: V0}) { success queueID } }"""
PUSH = """mutation P($spec: JSONString!, $queue: String!, $priority: Int) { pushToRunQueueByName(input: {
entityName: "team", projectName: "p", queueName: $queue, runSpec: $spec, priority: $priority})
{ runQueueItemId runSpec } }"""
POP = """mutation P($agent: ID) { popFromRunQueue(input: {entityName: "team", projectName: "p", queueName: "gpu",
launchAgentId: $agent}) { runQueueItemId runSpec } }"""
ACK = """mutation A($id: ID!, $run: String!) { ackRunQueueItem(input: {runQueueItemId: $id, runName: $run})
{ success } }"""
FAIL = """mutation F($id: ID!) { failRunQueueItem(input: {runQueueItemId: $id, message: "no such image",
stage: "build", filePaths: ["error.log"]}) { success } }"""
WARN = """mutation W($id: ID!) { updateRunQueueItemWarning(input: {runQueueItemId: $id, message: "pulling takes long",
stage: "Kubernetes", filePaths: []}) { success } }"""
AGENT = """mutation A($queue: ID!) { createLaunchAgent(input: {entityName: "team", projectName: "p",
runQueues: [$queue], hostname: "far", agentConfig: "{}", version: "wandb@0.31.0"}) { launchAgentId } }"""
ITEM = """query I($id: ID!) { project(entityName: "team", name: "p") { runQueue(name: "gpu") { runQueueItem(id: $id)
{ state associatedRunId priority error { message stage filePaths } warnings { message stage } } } } }"""
RUN = """query R($name: String!) { project(entityName: "team", name: "p") { run(name: $name) { id state stopped
exitcode summaryMetrics logLineCount logLines(last: 5) { edges { node { number level line timestamp } } } } } }"""
BUCKET = """mutation B($name: String!) { upsertBucket(input: {entityName: "team", modelName: "p", name: $name,
host: "h", config: "{}"}) { bucket { id name } inserted } }"""


def spec(**more: Any) -> str:
    document = {"entity": "team", "project": "p", "docker": {"docker_image": "a:1"}, "git": {}, "overrides": {}}
    return json.dumps(document | {"resource": None} | more)


@pytest.fixture
def gpu(served: Served) -> Served:
    served.data(QUEUE, name="gpu")
    return served


def push(served: Served, **more: Any) -> str:
    return str(served.data(PUSH, spec=spec(**more), queue="gpu")["pushToRunQueueByName"]["runQueueItemId"])


def popped(served: Served) -> str:
    """An item that an agent has taken."""
    push(served)
    return str(served.data(POP)["popFromRunQueue"]["runQueueItemId"])


def state(served: Served, item_id: str) -> RunState:
    return next(served.store.items(ItemFilter(ids=(item_id,)))).state


def item(served: Served, item_id: str) -> Any:
    return served.data(ITEM, id=item_id)["project"]["runQueue"]["runQueueItem"]


def stream(served: Served, run: str, **body: Any) -> requests.Response:
    return served.post(f"/files/team/p/{run}/file_stream", body)


def test_items_are_popped_by_priority_and_none_twice(gpu: Served) -> None:
    pushed = [
        gpu.data(PUSH, spec=spec(), queue="gpu", priority=priority)["pushToRunQueueByName"]["runQueueItemId"]
        for priority in (3, 0, 2)
    ]
    found = [gpu.data(POP)["popFromRunQueue"]["runQueueItemId"] for _ in pushed]
    assert found == [pushed[1], pushed[2], pushed[0]]
    assert gpu.data(POP)["popFromRunQueue"] is None


def test_an_item_goes_through_its_states_and_one_acknowledgement_counts(gpu: Served) -> None:
    item_id = push(gpu)
    assert item(gpu, item_id)["state"] == "PENDING"
    gpu.data(POP)
    assert (item(gpu, item_id)["state"], item(gpu, item_id)["associatedRunId"]) == ("LEASED", None)
    assert gpu.data(ACK, id=item_id, run="theirs")["ackRunQueueItem"]["success"]
    assert (item(gpu, item_id)["state"], item(gpu, item_id)["associatedRunId"]) == ("CLAIMED", "theirs")
    assert not gpu.data(ACK, id=item_id, run="others")["ackRunQueueItem"]["success"]
    assert gpu.data(RUN, name="theirs")["project"]["run"]["state"] == "pending"


def test_a_failure_is_kept_with_its_stage_and_its_files_and_a_warning_beside(gpu: Served) -> None:
    item_id = popped(gpu)
    assert gpu.data(WARN, id=item_id)["updateRunQueueItemWarning"]["success"]
    assert gpu.data(FAIL, id=item_id)["failRunQueueItem"]["success"]
    told = item(gpu, item_id)
    assert told["state"] == "FAILED"
    assert told["error"] == {"message": "no such image", "stage": "build", "filePaths": ["error.log"]}
    assert told["warnings"] == [{"message": "pulling takes long", "stage": "Kubernetes"}]
    assert not gpu.data(FAIL, id=item_id)["failRunQueueItem"]["success"]


def desk(served: Served) -> Desk:
    user = User("home", {"home": "admin"})
    return Desk(
        served.store, Accounts.of(served.store, user), Storage.of(served.store, served.folder / "server"), "home"
    )


class Round(agents.Caretaker):
    """The caretaker's rounds at times that a test says."""

    def __init__(self, served: Served) -> None:
        self._desk = desk(served)
        self._since = 0.0


@pytest.mark.parametrize(
    ("seconds", "found"), [(agents.ACK_SECONDS - 5, "leased"), (agents.ACK_SECONDS + 5, "pending")]
)
def test_what_is_not_acknowledged_within_a_minute_goes_back(seconds: float, found: str, gpu: Served) -> None:
    item_id = popped(gpu)
    Round(gpu).look(time.time() + seconds)
    assert state(gpu, item_id).value == found


def test_what_nobody_takes_in_time_fails(gpu: Served) -> None:
    item_id = push(gpu, timeout={"queue": 0.01})

    def over() -> bool:
        Round(gpu).look(time.time())
        return state(gpu, item_id) is RunState.FAILED

    until(over, "its end")


def test_a_run_is_lost_when_its_agent_and_itself_are_silent(gpu: Served) -> None:
    item_id = popped(gpu)
    gpu.data(ACK, id=item_id, run="theirs")
    Round(gpu).look(time.time() + agents.SILENT_SECONDS - 5)
    assert state(gpu, item_id) is RunState.RUNNING
    Round(gpu).look(time.time() + agents.SILENT_SECONDS + 5)
    assert state(gpu, item_id) in (RunState.PENDING, RunState.FAILED)
    found = next(gpu.store.items(ItemFilter(ids=(item_id,))))
    assert "neither its agent nor its run was heard of" in str(gpu.store.events(item_id)[-1].reason or found.reason)


def test_what_one_run_reported_keeps_no_other_lease_from_being_looked_after(
    gpu: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, waiting = popped(gpu), popped(gpu)
    gpu.data(ACK, id=broken, run="theirs")

    def outcome(*_: Any) -> Any:
        raise ValueError("no such number")

    monkeypatch.setattr(agents, "run_outcome", outcome)
    Round(gpu).look(time.time() + agents.ACK_SECONDS + 5)
    assert (state(gpu, broken), state(gpu, waiting)) == (RunState.RUNNING, RunState.PENDING)


def test_an_agent_is_told_to_stop_polling_and_is_heard_of(gpu: Served) -> None:
    queue = gpu.data('{ project(entityName: "team", name: "p") { runQueues { id name } } }')["project"]["runQueues"][0]
    agent = gpu.data(AGENT, queue=queue["id"])["createLaunchAgent"]["launchAgentId"]
    ask = "query L($id: ID!) { launchAgent(id: $id) { name runQueues agentStatus stopPolling heartbeatAt } }"
    assert not gpu.data(ask, id=agent)["launchAgent"]["stopPolling"]
    assert [known.id for known in gpu.store.agents()] == [agent]
    record = gpu.store.record("agent", agent)
    assert record
    gpu.store.keep_record("agent", agent, {**record.value, "stop": True}, record.revision)
    assert gpu.data(ask, id=agent)["launchAgent"]["stopPolling"]
    push(gpu)
    taken = gpu.data(POP, agent=agent)["popFromRunQueue"]["runQueueItemId"]
    update = (
        'mutation U($id: ID!) { updateLaunchAgent(input: {launchAgentId: $id, agentStatus: "KILLED"}) { success } }'
    )
    gpu.data(update, id=agent)
    assert state(gpu, taken) is RunState.PENDING
    assert gpu.store.agents() == []
    for more, known in ((-60, [agent]), (60, [])):
        Round(gpu).look(time.time() + agents.FORGOTTEN_SECONDS + more)
        assert [record.key for record in gpu.store.records("agent")] == known


def test_a_preempted_run_waits_again_with_its_priority(gpu: Served) -> None:
    item_id = gpu.data(PUSH, spec=spec(), queue="gpu", priority=1)["pushToRunQueueByName"]["runQueueItemId"]
    gpu.data(POP)
    gpu.data(ACK, id=item_id, run=item_id)
    again = push(gpu, run_id=item_id, _resume_count=1)
    found = next(gpu.store.items(ItemFilter(ids=(item_id,))))
    assert (again, found.state, found.priority) == (item_id, RunState.PENDING, 1)
    assert gpu.data(POP)["popFromRunQueue"]["runSpec"]["_resume_count"] == 1
    gpu.data(ACK, id=item_id, run=item_id)
    assert push(gpu, run_id=item_id, _resume_count=1) == item_id  # told again: the reply was lost
    assert state(gpu, item_id) is RunState.RUNNING
    push(gpu, run_id=item_id, _resume_count=2)
    assert state(gpu, item_id) is RunState.PENDING


def test_a_run_that_is_stopped_is_told_so_and_its_item_is_cancelled(gpu: Served) -> None:
    item_id = popped(gpu)
    gpu.data(ACK, id=item_id, run=item_id)
    run = gpu.data(BUCKET, name=item_id)["upsertBucket"]["bucket"]["id"]
    gpu.data("mutation S($id: ID!) { stopRun(input: {id: $id}) { success } }", id=run)
    assert gpu.data(RUN, name=item_id)["project"]["run"]["stopped"]
    stream(gpu, item_id, complete=True, exitcode=255)
    assert state(gpu, item_id) is RunState.CANCELLED
    assert gpu.data(RUN, name=item_id)["project"]["run"]["state"] == "killed"


@pytest.mark.parametrize(("code", "ended"), [(0, RunState.FINISHED), (1, RunState.FAILED)])
def test_a_run_that_ends_ends_its_item_with_its_summary(code: int, ended: RunState, gpu: Served) -> None:
    item_id = popped(gpu)
    gpu.data(ACK, id=item_id, run=item_id)
    assert gpu.data(BUCKET, name=item_id)["upsertBucket"]["inserted"]
    summary = {"wandb-summary.json": {"offset": 0, "content": ['{"best": 0.5, "_step": 2, "bad": NaN}']}}
    stream(gpu, item_id, files=summary)
    stream(gpu, item_id, complete=True, exitcode=code)
    found = next(gpu.store.items(ItemFilter(ids=(item_id,))))
    assert (found.state, found.exit_code, found.result) == (ended, code, {"best": 0.5, "bad": "NaN"})


def test_lines_that_are_streamed_again_are_kept_once_and_rewritten_ones_replaced(gpu: Served) -> None:
    gpu.data(BUCKET, name="r1")
    lines = [f"2026-01-01T00:00:0{number}.0 line {number}" for number in range(4)]
    for offset, content in ((0, lines[:3]), (0, lines[:3]), (2, ["ERROR 2026-01-01T00:00:09.0 last", lines[3]])):
        assert stream(gpu, "r1", files={"output.log": {"offset": offset, "content": content}}).status_code == 200
    run = gpu.data(RUN, name="r1")["project"]["run"]
    found = [(node["node"]["level"], node["node"]["line"]) for node in run["logLines"]["edges"]]
    assert found == [("info", "line 0"), ("info", "line 1"), ("error", "last"), ("info", "line 3")]
    assert run["logLineCount"] == 4


def test_specs_go_out_without_what_was_laid_over_them_for_our_agents(gpu: Served) -> None:
    gpu.store.keep_job(JobVersion("team/p/train", "image", {"docker": {"docker_image": "a:1"}}, ("python", "a.py")))
    document = json.loads(spec(job="team/p/train:latest", retry={"max_attempts": 2})) | {"docker": {}}
    gpu.data(PUSH, spec=json.dumps(document), queue="gpu")
    sent = gpu.data(POP)["popFromRunQueue"]["runSpec"]
    assert (sent["job"], sent["docker"], "retry" in sent) == ("team/p/train:v0", {}, False)
    kept = gpu.store.document(sent["run_id"])
    assert (kept["docker"], kept["retry"]) == ({"docker_image": "a:1"}, {"max_attempts": 2})


def test_many_pushes_in_one_document_are_each_answered(gpu: Served) -> None:
    pushes = [
        f'p{n}: pushToRunQueueByName(input: {{entityName: "team", projectName: "p", queueName: "gpu", runSpec: $s{n}}})'
        "{ runQueueItemId }"
        for n in range(3)
    ]
    query = f"mutation M($s0: JSONString!, $s1: JSONString!, $s2: JSONString!) {{ {' '.join(pushes)} }}"
    response = gpu.ask(query, s0=spec(run_id="k0"), s1=spec(docker={}), s2=spec(run_id="k2"))
    body = response.json()
    assert response.status_code == 200
    assert [body["data"][f"p{n}"] and body["data"][f"p{n}"]["runQueueItemId"] for n in range(3)] == ["k0", None, "k2"]
    ((error),) = body["errors"]
    assert error["path"] == ["p1"]
    assert "exactly one of uri, job or docker_image must be given" in error["message"]


@pytest.mark.parametrize(
    ("more", "status", "told"),
    [
        ({"uri": "/etc", "docker": {}}, 400, "is not pinned to a commit of a git remote"),
        ({"uri": "https://host/x.git", "docker": {}}, 400, "is not pinned to a commit of a git remote"),
        ({"resource": "local-containers"}, 400, "did you mean 'local-container'"),
        ({"overrides": {"entry_point": "python"}}, 400, "overrides.entry_point"),
        ({"run_id": "taken"}, 409, "run_id 'taken' is taken"),
        ({"entity": "lab"}, 403, "permission denied"),
    ],
)
def test_a_spec_with_a_problem_is_refused(more: dict[str, Any], status: int, told: str, gpu: Served) -> None:
    push(gpu, run_id="taken")
    response = gpu.ask(PUSH, spec=spec(**more), queue="gpu")
    assert response.status_code == status, response.text
    assert told in response.json()["errors"][0]["message"]
    assert len(list(gpu.store.items(ItemFilter(queue="gpu")))) == 1


def test_a_secret_in_a_spec_is_not_stored(gpu: Served) -> None:
    item_id = push(gpu, _wandb_api_key="k" * 40)
    assert "_wandb_api_key" not in gpu.store.document(item_id)


def test_two_entities_may_have_queues_of_one_name(gpu: Served) -> None:
    gpu.data(QUEUE.replace("team", "lab"), "bob", name="gpu")
    names = '{ project(entityName: "%s", name: "p") { runQueues { name } } }'
    for entity, who in (("team", "ann"), ("lab", "bob")):
        assert gpu.data(names % entity, who)["project"]["runQueues"] == [{"name": "gpu"}]
    push(gpu)
    taken = gpu.data(POP.replace("team", "lab"), "bob")["popFromRunQueue"]
    assert taken is None


def test_the_same_holds_over_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    with closing(open_store(postgres.database())) as store:
        keys = {"ann": add_user(store, "ann", {"team": "admin"}), "bob": add_user(store, "bob", {"lab": "admin"})}
        for url in serving(store, tmp_path / "server"):
            served = Served(url, store, tmp_path, keys)
            served.data(QUEUE, name="gpu")
            item_id = popped(served)
            served.data(ACK, id=item_id, run=item_id)
            served.data(BUCKET, name=item_id)
            summary = {"wandb-summary.json": {"offset": 0, "content": ['{"best": 0.5}']}}
            stream(served, item_id, files=summary, complete=True, exitcode=0)
            found = next(store.items(ItemFilter(ids=(item_id,))))
            assert (found.state, found.result) == (RunState.FINISHED, {"best": 0.5})
            assert served.ask(ITEM, "bob", id=item_id).status_code == 403
            assert served.ask(ITEM, id="\0").status_code == 400
