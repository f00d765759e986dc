"""What a sweep says about its runs' ends, through the command line: adding it again, stopping after failures, retries
and timeouts from sweep files, queue files and configs, and the attempts that `show` lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from launcher import LaunchError, launch_add, launch_sweep
from tests.conftest import Project, Result

Cli = Callable[..., Result]
PROGRAM = """\
import os, sys
attempt = int(os.environ["LAUNCHER_ATTEMPT"])
seed = int(sys.argv[-1].removeprefix("seed="))
print("attempt", attempt)
sys.exit(3 if attempt <= seed else 0)
"""


@pytest.fixture(autouse=True)
def program(project: Project) -> None:
    """A program that fails in its first `seed` attempts."""
    project.write("program.py", PROGRAM)


def items(cli: Cli, name: str = "s") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cli("status", name, "--json").out)
    return found


def add(cli: Cli, *arguments: str) -> Result:
    return cli("add", "--sweep", "s", *arguments, "--", "python", "program.py")


# -- adding again --------------------------------------------------------------------------------------------------


def test_what_is_skipped_is_told_with_its_state_and_what_failed_waits_again(cli: Cli) -> None:
    add(cli, "-m", "seed=range(4)")
    cli("cancel", "s", "--where", "seed=3")
    cli("agent", "--drain")
    again = add(cli, "-m", "seed=range(5)")
    assert again.out.splitlines()[0] == (
        "sweep s: 1 added; 2 are there already: 1 finished, 1 cancelled; 2 had failed and wait again "
        "(--again adds them once more)"
    )
    assert [item["state"] for item in items(cli)] == ["finished", "pending", "pending", "cancelled", "pending"]
    receipt = json.loads(add(cli, "-m", "seed=range(6)", "--json").out)
    assert len(receipt.pop("ids")) == 1
    assert receipt == {
        "sweep": "s", "added": 1, "present": 5, "retried": 0,
        "present_states": {"pending": 3, "finished": 1, "cancelled": 1},
    }  # fmt: skip
    forced = json.loads(add(cli, "-m", "seed=range(6)", "--again", "--json").out)
    assert (forced["added"], forced["present"], forced["present_states"]) == (6, 0, {})


def test_one_of_each_is_told_in_the_singular(cli: Cli) -> None:
    add(cli, "-m", "seed=0,1")
    cli("agent", "--drain")
    assert add(cli, "-m", "seed=0,1").out.splitlines()[0] == (
        "sweep s: 0 added; 1 is there already: 1 finished; 1 had failed and waits again (--again adds them once more)"
    )


def test_launch_add_always_adds_but_for_a_run_id_that_is_there(project: Project, cli: Cli) -> None:
    for sweep_id in (None, "s"):
        for _ in range(2):
            launch_add(uri=".", entry_point=["true"], sweep_id=sweep_id)
    launch_add(uri=".", entry_point=["true"], run_id="mine")
    with pytest.raises(LaunchError, match=r"run_id 'mine' is taken in sqlite.*; choose another, or leave it out"):
        launch_add(uri=".", entry_point=["true"], run_id="mine", sweep_id="s")
    assert len(items(cli)) == 2
    assert len(json.loads(cli("status", "--queue", "default", "--json").out)) == 5


def test_what_fingerprint_ignores_makes_no_other_point(cli: Cli, project: Project) -> None:
    project.write("s.yaml", "fingerprint: {ignore: [overrides.args, overrides.run_config.lr]}\ngrid: {seed: [0, 1]}\n")
    assert add(cli, "s.yaml").out.startswith("sweep s: 2 added\n")
    assert add(cli, "s.yaml", "lr=7").out.startswith("sweep s: 0 added; 2 are there already: 2 pending")
    assert add(cli, "s.yaml", "+x=7").out.startswith("sweep s: 2 added\n")


# -- stopping after failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["option", "file", "both", "python"])
def test_a_sweep_stops_after_failures_until_it_is_resumed(cli: Cli, project: Project, way: str) -> None:
    if way == "python":
        specs = [{"entry_point": ["python", "program.py", f"seed={seed}"]} for seed in range(1, 7)]
        launch_sweep("s", specs, uri=".", stop_after_failures=2)
    else:
        project.write("s.yaml", f"stop_after_failures: {2 if way == 'file' else 5}\n" * (way != "option") + "name: s\n")
        option = [] if way == "file" else ["--stop-after-failures", "2"]
        add(cli, "s.yaml", "seed=range(1,7)", *option)
    cli("agent", "--drain")
    assert [item["state"] for item in items(cli)] == ["failed"] * 2 + ["pending"] * 4
    shown = cli("status", "s").out
    assert shown.count("pending (failures)") == 4
    assert shown.endswith("\n4 pending (4 held after failures), 2 failed\n")
    overview = cli("status").out
    assert "4 (4 held after failures)" in overview
    assert "what is paused or held waits until launcher resume" in overview
    assert cli("resume", "s").out == "4 resumed\n"
    cli("agent", "--drain")
    assert [item["state"] for item in items(cli)] == ["failed"] * 3 + ["pending"] * 3, "one failure more holds the rest"


def test_stop_after_failures_must_be_a_number_of_failures(cli: Cli) -> None:
    refused = add(cli, "--stop-after-failures", "0")
    assert (refused.code, refused.out) == (2, "")
    assert "Invalid value for '--stop-after-failures'" in refused.err
    for wrong in (0, True, "2"):
        with pytest.raises(LaunchError, match=r"stop_after_failures is .*, expected a whole number, at least 1"):
            launch_sweep("s", [], uri=".", stop_after_failures=wrong)  # type: ignore[arg-type]


# -- policies ------------------------------------------------------------------------------------------------------


def policies(cli: Cli, project: Project, way: str) -> None:
    """Retry failed runs up to three attempts in all, as said in one of the places where it can be."""
    retry = "{max_attempts: 3, on: [failed]}"
    if way == "sweep file":
        project.write("s.yaml", f"retry: {retry}\ntimeout: {{run: 1h}}\n")
        add(cli, "s.yaml", "seed=range(4)")
    elif way == "queue file":
        project.write("queues.yaml", f"name: default\nretry: {retry}\ntimeout: {{run: 1h}}\n")
        assert cli("queue", "apply", "queues.yaml", "--yes").code == 0
        add(cli, "-m", "seed=range(4)")
    elif way == "config":
        project.write("conf/launch/x.yaml", f"retry: {retry}\ntimeout: {{run: 1h}}\n")
        add(cli, "-m", "+launch=x", "seed=range(4)")
    elif way == "all of them":
        project.write("queues.yaml", "name: default\nretry: {max_attempts: 7, on: [lost]}\n")
        cli("queue", "apply", "queues.yaml", "--yes")
        project.write("conf/launch/x.yaml", "retry: {max_attempts: 9, on: [failed]}\n")
        project.write("s.yaml", "retry: {max_attempts: 3}\ntimeout: {run: 1h}\n")
        add(cli, "s.yaml", "+launch=x", "seed=range(4)")
    else:
        specs = [{"entry_point": ["python", "program.py", f"seed={seed}"]} for seed in range(4)]
        launch_sweep("s", specs, uri=".", retry={"max_attempts": 3, "on": ["failed"]}, timeout={"run": "1h"})


@pytest.mark.parametrize("way", ["sweep file", "queue file", "config", "all of them", "python"])
def test_retry_and_timeout_can_be_said_in_many_places(cli: Cli, project: Project, way: str) -> None:
    policies(cli, project, way)
    cli("agent", "--drain", "-j", "2")
    assert [(item["state"], item["attempt"]) for item in items(cli)] == [
        ("finished", 1), ("finished", 2), ("finished", 3), ("failed", 3),
    ]  # fmt: skip
    spec = json.loads(cli("show", items(cli)[0]["id"], "--json").out)["spec"]
    assert spec["timeout"] == {"run": "1h"}
    assert spec["retry"] == {"max_attempts": 3, "on": ["failed"]}


def test_a_specs_own_policies_are_laid_over_the_shared_ones(cli: Cli) -> None:
    own = [{"retry": {"max_attempts": 9}}, {"config": {"timeout": {"start": "1m"}}}, {}]
    launch_sweep("s", own, uri=".", entry_point=["true"], retry={"on": [7]}, timeout={"run": "1h"})
    specs = [json.loads(cli("show", item["id"], "--json").out)["spec"] for item in items(cli)]
    assert [spec["retry"] for spec in specs] == [{"on": [7], "max_attempts": 9}, {"on": [7]}, {"on": [7]}]
    assert [spec["timeout"] for spec in specs] == [{"run": "1h"}, {"run": "1h", "start": "1m"}, {"run": "1h"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("retry: {max_attempt: 3}\n", "retry: 'max_attempt' unknown; did you mean 'max_attempts'?"),
        ("retry: {on: [fails]}\n", "failed, lost, preempted, timeout, or an exit code"),
        ("timeout: {run: soon}\n", "a span of time, as 90, 90s, 5m, 1h 30m or 2d"),
        ("fingerprint: {ignore: name}\n", "fingerprint.ignore"),
    ],
)
def test_a_wrong_policy_of_a_sweep_file_is_told_once_and_nothing_is_queued(
    cli: Cli, project: Project, text: str, told: str
) -> None:
    project.write("s.yaml", f"{text}grid: {{seed: range(5)}}\n")
    result = add(cli, "s.yaml")
    assert (result.code, result.out) == (1, "")
    assert "5 points, nothing queued: 1 problem" in result.err
    assert told in result.err
    assert json.loads(cli("status", "--json").out)["sweeps"] == []


# -- what became of each attempt -----------------------------------------------------------------------------------


def test_show_lists_the_attempts_of_an_item(cli: Cli, project: Project) -> None:
    project.write("s.yaml", "retry: {max_attempts: 3, on: [failed]}\n")
    [item] = json.loads(add(cli, "s.yaml", "seed=2", "--json").out)["ids"]
    assert "ATTEMPT" not in cli("show", item).out
    assert json.loads(cli("show", item, "--json").out)["attempts"] == []
    cli("agent", "--drain")
    shown = cli("show", item).out
    heading, *rows = shown[shown.index("ATTEMPT") : shown.index("story\n")].splitlines()
    assert heading.split() == ["ATTEMPT", "STATE", "AGENT", "TOOK", "EXIT", "CODE", "REASON", "FOLDER"]
    assert [row.split()[:2] for row in rows] == [["1", "failed"], ["2", "failed"], ["3", "finished"]]
    assert all("exit code 3: attempt" in row for row in rows[:2])
    attempts = json.loads(cli("show", item, "--json").out)["attempts"]
    assert [(each["attempt"], each["state"], each["exit_code"]) for each in attempts] == [
        (1, "failed", 3), (2, "failed", 3), (3, "finished", 0),
    ]  # fmt: skip
    assert len({each["run_dir"] for each in attempts}) == 3
    [agent] = {each["agent"] for each in attempts}
    assert agent
    assert all(each["agent"] in row for each, row in zip(attempts, rows, strict=True))
    assert all(each["finished_at"] >= each["started_at"] for each in attempts)


def test_an_item_that_was_retried_and_waits_lists_what_has_ended(cli: Cli) -> None:
    [item] = json.loads(add(cli, "seed=9", "--json").out)["ids"]
    cli("agent", "--drain")
    assert [each["state"] for each in json.loads(cli("show", item, "--json").out)["attempts"]] == ["failed"]
    cli("retry", item)
    [first] = json.loads(cli("show", item, "--json").out)["attempts"]
    assert (first["attempt"], first["state"], first["exit_code"]) == (1, "failed", 3)
    cli("agent", "--drain")
    assert [row.split()[:2] for row in cli("show", item).out.splitlines() if row.split()[1:2] == ["failed"]][:2] == [
        ["1", "failed"], ["2", "failed"],
    ]  # fmt: skip
