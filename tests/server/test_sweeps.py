"""Sweeps of W&B's, request by request: points handed out once, also to agents that vanish; what states mean for runs;
schedulers as items; sweeps of several entities under one name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from launcher.item import AgentInfo, ItemFilter, RunState
from launcher.outcome import Failed, Finished
from launcher.server import sweep_agents
from tests.server.conftest import Served
from tests.server.test_protocol import ACK, BUCKET, POP, PUSH, QUEUE, push, spec

UPSERT = """mutation U($id: ID, $config: String, $state: String, $launch: JSONString, $variables: JSONString,
$entity: String, $prior: JSONString, $controller: JSONString) { upsertSweep(input: {id: $id, config: $config,
state: $state, launchScheduler: $launch, templateVariableValues: $variables, entityName: $entity, projectName: "p",
priorRunsFilters: $prior, controller: $controller}) { sweep { id name state } configValidationWarnings } }"""
SWEEP = """query S($name: String!, $entity: String = "team") { project(entityName: $entity, name: "p") { totalSweeps
sweeps { edges { node { name } } } sweep(sweepName: $name) { id state method scheduler runCount runCountExpected
runs { edges { node { name state config } } } } } }"""
AGENT = """mutation A($sweep: String!, $entity: String = "team") { createAgent(input: {host: "h", projectName: "p",
entityName: $entity, sweep: $sweep}) { agent { id } } }"""
BEAT = """mutation H($id: ID!, $runs: JSONString = "{}") { agentHeartbeat(input: {id: $id, metrics: "{}",
runState: $runs}) { agent { id } commands } }"""
DELETE = """mutation D($queue: ID!, $item: ID!) { deleteFromRunQueue(input: {queueID: $queue, runQueueItemId: $item})
{ success } }"""
GRID = json.dumps({"method": "grid", "parameters": {"lr": {"values": [1, 2, 3]}}, "program": "train.py"})
OURS = AgentInfo("ours", "here", 1, 0.0, (), 1, 0.0, 0.0)


@pytest.fixture
def gpu(served: Served) -> Served:
    served.data(QUEUE, name="gpu")
    return served


def upsert(served: Served, who: str = "ann", **variables: Any) -> Any:
    entity = {"ann": "team", "bob": "lab"}[who]
    return served.data(UPSERT, who, entity=entity, **variables)["upsertSweep"]["sweep"]


def refused(served: Served, **variables: Any) -> str:
    response = served.ask(UPSERT, entity="team", **variables)
    assert response.status_code == 400, response.text
    return str(response.json()["errors"][0]["message"])


def sweep(served: Served, name: str) -> Any:
    return served.data(SWEEP, name=name)["project"]["sweep"]


def agent(served: Served, name: str) -> str:
    return str(served.data(AGENT, sweep=name)["createAgent"]["agent"]["id"])


def beat(served: Served, agent_id: str, *alive: str) -> list[Any]:
    told = served.data(BEAT, id=agent_id, runs=json.dumps(dict.fromkeys(alive, True)))
    return list(json.loads(told["agentHeartbeat"]["commands"]))


def launch(**more: Any) -> str:
    """What `wandb launch-sweep` gives for a scheduler."""
    run_spec = {
        "uri": "placeholder-uri-scheduler", "resource": "local-process", "entity": "team", "project": "p",
        "docker": {}, "git": {}, "name": "Scheduler.WANDB_SWEEP_ID", "run_id": "WANDB_SWEEP_ID",
        "overrides": {"entry_point": ["wandb", "scheduler", "WANDB_SWEEP_ID"], "args": ["--queue", "'gpu'"]},
    }  # fmt: skip
    return json.dumps({"queue": "gpu", "run_queue_project": "model-registry", "run_spec": json.dumps(run_spec | more)})


def end(served: Served, run: str, state: str = "finished") -> None:
    """A run that reports to W&B begins, and ends."""
    made = served.data(BUCKET, name=run)["upsertBucket"]["bucket"]["id"]
    query = "mutation E($id: ID!, $state: String!) { updateRunState(input: {id: $id, state: $state}) { success } }"
    assert served.data(query, id=made, state=state)["updateRunState"]["success"]


def test_each_point_is_handed_out_once_and_the_end_of_the_last_run_is_the_sweeps(served: Served) -> None:
    name = upsert(served, config=GRID)["name"]
    first, second = agent(served, name), agent(served, name)
    points = []
    for each in (first, second, first):
        (command,) = beat(served, each)
        assert (command["type"], command["program"]) == ("run", "train.py")
        points.append(command["args"]["lr"]["value"])
        assert beat(served, each, command["run_id"]) == []  # it has something to do
        served.data(BUCKET, name=command["run_id"])
    assert points == [1, 2, 3]
    assert beat(served, first) == []
    told = sweep(served, name)
    assert (told["state"], told["runCount"], told["runCountExpected"]) == ("RUNNING", 3, 3)
    runs = [edge["node"] for edge in told["runs"]["edges"]]
    assert [run["state"] for run in runs] == ["running"] * 3
    for run in runs:
        end(served, run["name"])
    assert sweep(served, name)["state"] == "FINISHED"
    assert [beat(served, each) for each in (first, second)] == [[{"type": "exit"}]] * 2


def test_a_program_that_never_reported_has_crashed_when_its_agent_goes_on(served: Served) -> None:
    name = upsert(served, config=GRID)["name"]
    own = agent(served, name)
    (command,) = beat(served, own)
    (after,) = beat(served, own)
    assert after["args"]["lr"]["value"] == 2
    states = {edge["node"]["name"]: edge["node"]["state"] for edge in sweep(served, name)["runs"]["edges"]}
    assert states == {command["run_id"]: "crashed", after["run_id"]: "pending"}


def test_what_an_agent_did_not_begin_with_before_it_vanished_goes_to_another(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = upsert(served, config=GRID)["name"]
    (lost,) = beat(served, agent(served, name))
    other = agent(served, name)
    (own,) = beat(served, other)
    assert own["args"]["lr"]["value"] == 2
    monkeypatch.setattr(sweep_agents, "SILENT_SECONDS", -1.0)
    served.data(BUCKET, name=own["run_id"])
    (again,) = beat(served, other)
    assert (again["run_id"], again["args"]) == (lost["run_id"], lost["args"])


def test_a_worker_of_a_scheduler_gets_what_it_did_not_queue_once_more(gpu: Served) -> None:
    name = upsert(gpu, config=GRID, launch=launch(), state="PENDING")["name"]
    assert sweep(gpu, name)["state"] == "PENDING"
    worker = agent(gpu, name)
    assert sweep(gpu, name)["state"] == "RUNNING"
    (command,) = beat(gpu, worker)
    assert beat(gpu, worker) == [command]  # its reply was lost
    push(gpu, run_id=command["run_id"], sweep_id=name)
    (after,) = beat(gpu, worker)
    assert after["args"]["lr"]["value"] == 2


def test_items_lie_in_their_sweep_and_a_failure_before_the_start_ends_their_run(gpu: Served) -> None:
    name = upsert(gpu, config=GRID, launch=launch())["name"]
    worker = agent(gpu, name)
    gpu.store.register(OURS)
    for number in range(3):
        (command,) = beat(gpu, worker)
        push(gpu, run_id=command["run_id"], sweep_id=name)
        (lease,) = gpu.store.pop(OURS.id, ["gpu"], 1) if number else gpu.store.pop(OURS.id, ["gpu"], 2)[1:]
        assert (lease.item.id, lease.item.sweep) == (command["run_id"], name)
        if number:
            gpu.store.ack([(lease, {"pid": 1}, "")])
        gpu.store.finish([(lease, Finished({"score": 1}) if number else Failed("build", "no such image"))])
    assert sweep(gpu, name)["state"] == "FINISHED"
    assert beat(gpu, worker) == []  # told to exit, it would cancel the sweep
    states = [edge["node"]["state"] for edge in sweep(gpu, name)["runs"]["edges"]]
    assert states == ["failed", "finished", "finished"]
    assert len(list(gpu.store.items(ItemFilter(sweep=name)))) == 3


def test_a_scheduler_is_an_item_whose_arguments_no_shell_quotes(gpu: Served) -> None:
    made = upsert(gpu, config=GRID, launch=launch(_wandb_api_key="k" * 40), state="PENDING")
    told = gpu.data(POP)["popFromRunQueue"]
    assert told["runQueueItemId"] == made["name"]
    popped = told["runSpec"]
    assert (popped["uri"], popped["resource"], popped["run_id"]) == (
        "placeholder-uri-scheduler", "local-process", made["name"],
    )  # fmt: skip
    assert popped["overrides"]["entry_point"] == ["wandb", "scheduler", made["name"]]
    assert popped["overrides"]["args"] == ["--queue", "gpu"]
    kept = sweep(gpu, made["name"])["scheduler"]
    assert json.loads(json.loads(kept)["run_spec"])["run_id"] == "WANDB_SWEEP_ID"
    assert "kkkk" not in json.dumps(popped) + kept


def test_a_scheduler_that_is_a_job_searches_by_itself(gpu: Served) -> None:
    from launcher.item import JobVersion

    gpu.store.keep_job(JobVersion("team/p/search", "image", {"docker": {"docker_image": "search:1"}}))
    job = launch(job="team/p/search:latest", resource="local-container", overrides={"run_config": {"sweep_args": {}}})
    made = upsert(gpu, config="{method: custom}", launch=job, state="PENDING")
    popped = gpu.data(POP)["popFromRunQueue"]["runSpec"]
    assert (popped["uri"], popped["job"]) == ("placeholder-uri-scheduler", "team/p/search:v0")
    assert beat(gpu, agent(gpu, made["name"])) == []


def test_a_sweep_is_resumed_with_a_new_scheduler_when_the_old_one_has_ended(gpu: Served) -> None:
    made = upsert(gpu, config=GRID, launch=launch())
    worker = agent(gpu, made["name"])
    (command,) = beat(gpu, worker)
    response = gpu.ask(UPSERT, id=made["id"], launch=launch(), state="PENDING")
    assert (response.status_code, "wait until it has ended" in response.text) == (409, True)
    gpu.store.cancel(ItemFilter(ids=(made["name"],)), "ann")
    assert upsert(gpu, id=made["id"], launch=launch(), state="PENDING")["state"] == "PENDING"
    assert gpu.store.item(made["name"]).state is RunState.PENDING
    assert gpu.ask(BEAT, id=worker).status_code == 404
    assert beat(gpu, agent(gpu, made["name"])) == [command]


def test_a_paused_sweep_hands_out_nothing_until_it_is_resumed(served: Served) -> None:
    made = upsert(served, config=GRID)
    own = agent(served, made["name"])
    assert upsert(served, id=made["id"], state="PAUSED")["state"] == "PAUSED"
    assert beat(served, own) == []
    upsert(served, id=made["id"], state="RUNNING")
    assert [command["type"] for command in beat(served, own)] == ["run"]


@pytest.mark.parametrize(("state", "goes_on"), [("FINISHED", True), ("CANCELED", False)])
def test_over_is_what_waits_and_if_cancelled_what_runs(state: str, goes_on: bool, gpu: Served) -> None:
    made = upsert(gpu, config=GRID, launch=launch())
    worker = agent(gpu, made["name"])
    gpu.data(POP)  # its scheduler
    gpu.data(ACK, id=made["name"], run=made["name"])
    for number in range(2):
        (command,) = beat(gpu, worker)
        push(gpu, run_id=command["run_id"], sweep_id=made["name"])
        if not number:
            gpu.data(POP)
            gpu.data(ACK, id=command["run_id"], run=command["run_id"])
    upsert(gpu, id=made["id"], state=state)
    running, waiting = gpu.store.items(ItemFilter(sweep=made["name"]))
    assert (running.stop_requested, waiting.state) == (not goes_on, RunState.CANCELLED)
    assert beat(gpu, worker) == ([] if goes_on else [{"type": "exit"}])


def test_a_run_of_wandbs_own_agent_is_stopped_with_its_sweep_and_by_itself(served: Served) -> None:
    made = upsert(served, config=GRID)
    own = agent(served, made["name"])
    (command,) = beat(served, own)
    run = served.data(BUCKET, name=command["run_id"])["upsertBucket"]["bucket"]["id"]
    served.data("mutation S($id: ID!) { stopRun(input: {id: $id}) { success } }", id=run)
    assert beat(served, own, command["run_id"]) == [{"type": "stop", "run_id": command["run_id"]}]
    upsert(served, id=made["id"], state="CANCELED")
    assert beat(served, own, command["run_id"]) == [{"type": "exit"}]


def test_what_this_server_does_not_do_is_refused_or_warned_about(gpu: Served) -> None:
    early = json.dumps({**json.loads(GRID), "early_terminate": {"type": "hyperband"}})
    (warning,) = gpu.data(UPSERT, entity="team", config=early)["upsertSweep"]["configValidationWarnings"]
    assert "early_terminate is not done" in warning
    assert "method 'bayes' is not searched" in refused(gpu, config=GRID.replace("grid", "bayes"))
    assert "runs of before" in refused(gpu, config=GRID, prior='{"$or": [{"name": "x"}]}')
    assert "local controller" in refused(gpu, config=GRID, controller='{"type": "local"}')
    assert "config is missing" in refused(gpu)
    assert "state 'DONE' is unknown" in refused(gpu, config=GRID, state="DONE")
    assert "neither a job" in refused(gpu, config=GRID, launch=launch(resource="local-container"))
    assert "neither a job" in refused(gpu, config=GRID, launch=launch(overrides={"entry_point": ["rm", "-r", "x"]}))
    assert "by which agents know a scheduler" in refused(gpu, config=GRID, launch=launch(uri="https://host/x.git"))
    assert "'x' is a string, expected a list" in refused(
        gpu, config=GRID, launch=launch(overrides={"entry_point": "x"})
    )
    assert gpu.ask(UPSERT, entity="team", config=GRID, launch=launch().replace("gpu", "none")).status_code == 404
    assert gpu.data(SWEEP, name="x")["project"]["totalSweeps"] == 1
    assert list(gpu.store.items(ItemFilter())) == []


def test_sweeps_of_two_entities_under_one_name_are_two(gpu: Served) -> None:
    gpu.data(QUEUE.replace('"team"', '"lab"'), "bob", name="gpu")
    push(gpu, sweep_id="grid")
    gpu.data(PUSH.replace('"team"', '"lab"'), "bob", spec=spec(entity="lab", sweep_id="grid"), queue="gpu")
    gpu.data(PUSH.replace('"team"', '"lab"'), "bob", spec=spec(entity="lab", sweep_id="team/grid"), queue="gpu")
    assert sorted(str(item.sweep) for item in gpu.store.items(ItemFilter())) == ["grid", "lab/grid", "lab/team/grid"]
    long = gpu.ask(PUSH, spec=spec(sweep_id="x" * 200), queue="gpu")
    assert (long.status_code, "at most 128" in long.text) == (400, True)


def test_a_run_whose_item_is_deleted_is_not_handed_out_again(gpu: Served) -> None:
    name = upsert(gpu, config=GRID, launch=launch())["name"]
    worker = agent(gpu, name)
    (command,) = beat(gpu, worker)
    push(gpu, run_id=command["run_id"], sweep_id=name)
    queue = gpu.data('{ project(entityName: "team") { runQueue(name: "gpu") { id } } }')["project"]["runQueue"]["id"]
    gpu.data(DELETE, queue=queue, item=command["run_id"])
    (after,) = beat(gpu, worker)
    assert after["args"]["lr"]["value"] == 2
    states = [edge["node"]["state"] for edge in sweep(gpu, name)["runs"]["edges"]]
    assert states == ["killed", "pending"]


def test_an_agent_of_wandbs_is_not_told_of_a_sweep_that_it_would_not_find(gpu: Served) -> None:
    push(gpu, sweep_id="of-ours")
    assert "sweep_id" not in gpu.data(POP)["popFromRunQueue"]["runSpec"]
    made = upsert(gpu, config=GRID)
    push(gpu, sweep_id=made["name"])
    assert gpu.data(POP)["popFromRunQueue"]["runSpec"]["sweep_id"] == made["name"]
