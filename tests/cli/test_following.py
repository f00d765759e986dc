"""A sweep from queue to end, through the commands a person types: status, show, logs, wait, retry, cancel."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from launcher import launch_add
from launcher.item import AgentInfo
from launcher.queues import open_store
from tests.conftest import Project, Result, until

Cli = Callable[..., Result]


def test_status_counts_queues_and_sweeps(done: Cli) -> None:
    lines = done("status").out.splitlines()
    assert lines[1].split() == ["default", "0", "0", "0", "2", "1", "0"]
    assert lines[4].split() == ["s", "0", "0", "0", "2", "1", "0"]
    assert lines[-1] == "no agent is running; start one: launcher agent"
    overview = json.loads(done("status", "--json").out)
    assert overview["sweeps"][0]["counts"]["finished"] == 2
    assert overview["sweeps"][0]["held"] == {}
    assert done("status", "s").out.splitlines()[-1] == "2 finished, 1 failed"


def test_show_tells_the_story(done: Cli) -> None:
    [failed] = [item for item in json.loads(done("status", "s", "--json").out) if item["state"] == "failed"]
    shown = done("show", failed["id"][:6]).out
    assert "state      failed: run: exit code 1: seed 2\n" in shown
    assert "command    python program.py model=svm seed=2\n" in shown
    assert "kernel: rbf" in shown
    story = [line.split("  ")[-1] for line in shown.split("story\n")[1].splitlines()[:4]]
    assert story[0] == "added"
    assert [line.split(" ")[0] for line in story[1:]] == ["leased", "running", "failed"]


def test_show_of_a_sweep_says_what_to_use(done: Cli) -> None:
    for command in ("show", "logs"):
        assert "'s' is a sweep; launcher status s shows its items" in done(command, "s").err


def test_a_sweeps_name_says_more_than_the_beginning_of_an_id(project: Project, cli: Cli) -> None:
    project.write("train.py", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        launch_add(uri=".", entry_point=["python", "train.py"], run_id="firsthand", sweep_id="first")
    assert "'first' is a sweep" in cli("show", "first").err
    assert "item       firsthand" in cli("show", "firsth").out


def test_retry_queues_only_what_failed_and_wait_tells(done: Cli) -> None:
    assert done("wait", "s").code == 1
    assert done("retry", "s").out == "1 queued again\n"
    waiting = done("wait", "s", "--timeout", "0")
    assert waiting.code == 1
    assert "1 of 3 items had not ended after 0 s: 1 pending, 2 finished" in waiting.err
    assert done("cancel", "s").out == "1 waiting cancelled, 0 running being stopped\n"
    assert done("wait", "s").out == "2 finished, 1 cancelled\n"


def test_retrying_a_finished_item_is_refused(done: Cli) -> None:
    [item, *_] = json.loads(done("results", "s", "--json").out)
    assert f"only failed or cancelled items can be retried; {item['id']} is finished" in done("retry", item["id"]).err


def test_logs_follow_a_run_to_its_end(project: Project, cli: Cli) -> None:
    project.write(
        "program.py",
        "import os, time\nprint('first', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('last')",
    )
    [item] = json.loads(cli("add", "--json", "--", "python", "program.py").out)["ids"]
    assert f"item {item} has no log, it is pending" in cli("logs", item).err
    follower = project.start("logs", "-f", item)
    agent = project.start("agent", "--drain")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "first\n"
    project.write("go", "")
    out, err = follower.communicate(timeout=60)
    assert out == "last\n"
    assert err in ("", "launcher: no agent is running; start one: launcher agent\n")  # there is one a moment later
    agent.communicate(timeout=60)


def test_status_tells_how_long_a_run_has_taken_and_that_it_is_being_stopped(project: Project) -> None:
    project.run("add", "--sweep", "s", "--", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    agent = project.start("agent", "--drain")
    [item] = json.loads(project.run("status", "s", "--json").out)
    until(lambda: project.run("logs", item["id"]).out == "ready\n", "its trap")
    [line] = [line for line in project.run("status", "s").out.splitlines() if " running " in line]
    assert re.search(r"running +1 +\d\S* m?s so far", line), line
    project.run("cancel", "s")
    assert " running (stopping) " in project.run("status", "s").out
    agent.communicate(timeout=60)
    assert project.run("status", "s").out.splitlines()[-1] == "1 cancelled"


def test_status_tells_which_agents_are_silent(project: Project) -> None:
    store = open_store(project.store_url)
    now = time.time()
    known = AgentInfo("old", "elsewhere", 1, 0.0, (), 2, now - 9000, now - 7200)
    store.register(known)
    told = project.run("status").out.splitlines()
    assert re.search(r"old +2 +all +2 h( 0 m)? \(silent\)", told[-2]), told
    assert told[-1] == (
        "no agent is running; what these held goes on, or waits again, with the next one; start one: launcher agent"
    )
    store.register(replace(known, id="new", seen_at=now))
    assert "no agent is running" not in project.run("status").out
    store.close()


def test_an_idle_agent_hears_of_a_new_item(project: Project) -> None:
    agent = project.start("agent")
    until(lambda: "no agent is running" not in project.run("status").out, "the agent's registration")
    project.run("add", "--sweep", "s", "--", "true")
    assert project.run("wait", "s").code == 0
    agent.terminate()
    assert agent.wait(60) == 0
    agent.communicate()


def test_queues_can_be_made_and_shown(cli: Cli) -> None:
    assert cli("queue", "create", "gpu", "--resource", "slurm").out == "queue gpu created (slurm)\n"
    assert [queue["name"] for queue in json.loads(cli("queue", "list", "--json").out)] == ["default", "gpu"]
    assert "resource: slurm" in cli("queue", "show", "gpu").out
    assert "slurm" in cli("queue", "list").out


def test_items_that_their_runner_cannot_start_fail_with_a_reason(cli: Cli) -> None:
    cli("add", "--sweep", "s", "+launch.resource=kubernetes", "--", "true")
    cli("agent", "--drain")
    [item] = json.loads(cli("status", "s", "--json").out)
    assert (item["state"], item["stage"]) == ("failed", "prepare")
    assert item["reason"].startswith("its code lies on the agent's disk, which pods do not see; build an image of it")


def test_a_pipe_that_closes_early_is_no_error(project: Project) -> None:
    with project.start("plan", "-m", "seed=range(3000)", "--", "true") as planner:
        assert planner.stdout is not None
        assert planner.stdout.readline().startswith("sweep")
        planner.stdout.close()
        assert planner.stderr is not None
        assert planner.stderr.read() == ""


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out.startswith("launcher 0.")
    assert "launcher plan -m" in cli("--help").out
