"""Cancel, retry, priority, pause and resume over what names and conditions select; dry runs; what is held, in sight."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, Result

Cli = Callable[..., Result]
VERBS = ["cancel", "retry", "pause", "resume", "priority"]
PROGRAM = "import sys\nsys.exit('seed=2' in sys.argv)\n"


@pytest.fixture
def swept(cli: Cli, project: Project) -> Cli:
    """Two sweeps of four points in two queues, nothing run yet."""
    project.write("program.py", PROGRAM)
    assert cli("queue", "create", "other").code == 0
    for sweep, queue in (("s", "default"), ("t", "other")):
        added = cli(
            "add", "-q", queue, "--sweep", sweep, "-m", "model=svm,mlp", "seed=1,2", "--", "python", "program.py"
        )
        assert added.code == 0
    return cli


def listed(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cli("status", *arguments, "--json").out)
    return found


def points(items: list[dict[str, Any]]) -> list[str]:
    return [f"{item['sweep']} {' '.join(item['point'])}" for item in items]


def everything(cli: Cli) -> Any:
    items = listed(cli, "s", "t")
    return items, [json.loads(cli("show", item["id"], "--json").out)["events"] for item in items]


def content(folder: Path) -> dict[str, bytes]:
    """The store's files, but for those in which readers say that they read."""
    return {path.name: path.read_bytes() for path in folder.glob("store.db*") if not path.name.endswith("-shm")}


# -- which items ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "meant"),
    [
        (["s"], "s svm 1, s svm 2, s mlp 1, s mlp 2"),
        (["--sweep", "s"], "s svm 1, s svm 2, s mlp 1, s mlp 2"),
        (["--queue", "other"], "t svm 1, t svm 2, t mlp 1, t mlp 2"),
        (["--where", "model=svm"], "s svm 1, s svm 2, t svm 1, t svm 2"),
        (["--where", "model=svm", "--where", "seed=2"], "s svm 2, t svm 2"),
        (["s", "t", "--where", "model=svm", "--where", "seed=2"], "s svm 2, t svm 2"),
        (["--sweep", "s", "--queue", "other"], ""),
        (["--sweep", "s", "--queue", "default", "--state", "pending,failed", "--where", "seed=1"], "s svm 1, s mlp 1"),
        (["--state", "failed"], ""),
        (["--state", "failed", "--state", "pending", "--sweep", "t", "--where", "seed=1"], "t svm 1, t mlp 1"),
        (["--where", "seed=3"], ""),
        (["--all"], "s svm 1, s svm 2, s mlp 1, s mlp 2, t svm 1, t svm 2, t mlp 1, t mlp 2"),
    ],
)
def test_all_conditions_hold_for_what_changes(swept: Cli, conditions: list[str], meant: str) -> None:
    names = [re.sub(r"(\w) (\w+) (\d)", r"\1 model=\2 seed=\3", point) for point in meant.split(", ") if point]
    cancelled = json.loads(swept("cancel", *conditions, "--json").out)
    assert cancelled == {"cancelled": len(names), "stopping": 0}
    assert points(listed(swept, "--state", "cancelled")) == names


def test_ids_and_a_condition_select_those_for_which_it_holds(swept: Cli) -> None:
    items = listed(swept, "s", "t")
    some = [item["id"][:7] for item in items if "seed=1" in item["point"]]
    assert swept("pause", *some, "--sweep", "t").out == "2 paused, until launcher resume; 0 running go on\n"
    assert swept("cancel", *some, "--sweep", "s", "--where", "model=mlp").out == (
        "1 waiting cancelled, 0 running being stopped\n"
    )
    assert points(listed(swept, "--state", "cancelled")) == ["s model=mlp seed=1"]


@pytest.mark.parametrize(
    ("conditions", "code", "told"),
    [
        ([], 2, "nothing says which items; expected sweeps or IDs, or --sweep, --queue, --state, --where, or --all"),
        (["--all", "s"], 2, "--all means every item; give it alone, or leave it out"),
        (["--all", "--state", "failed"], 2, "--all means every item"),
        (
            ["--state", "fail"],
            2,
            "--state 'fail' is unknown; did you mean 'failed'? known: cancelled, failed, finished",
        ),
        (["--state", ""], 2, "--state '' is unknown"),
        (["--where", "model"], 2, "--where 'model' is no condition; expected model=svm"),
        (["--where", "modle=svm"], 2, "no column 'modle'; did you mean 'model'?"),
        (["s", "--where", "seed=>1"], 2, "--where 'seed=>1': '=>' is no comparison; did you mean '>='?"),
        (["--where", "state=faild"], 2, "--where 'state=faild': 'faild' is no state; did you mean 'failed'?"),
        (["--sweep", "ss"], 1, "no sweep named 'ss'; "),
        (["--queue", "othr"], 1, "no queue named 'othr'; did you mean 'other'?"),
        (["s", "--sweep", "t"], 2, "sweep 's' and --sweep 't' both given"),
        (["nothing", "--state", "failed"], 1, "'nothing' is neither a sweep nor an item's ID"),
    ],
)
def test_a_selection_that_is_none_changes_nothing(swept: Cli, conditions: list[str], code: int, told: str) -> None:
    before = everything(swept)
    for verb in VERBS:
        result = swept(verb, *conditions, *(["high"] if verb == "priority" else []))
        assert (result.code, result.out) == (code, ""), verb
        assert told in result.err
    assert everything(swept) == before


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("lr>=0.2", "13"), ("lr=.1", "02"), ("lr!=0.1", "13"), ("lr=0.1", "02"), ("name=ü", "01"),
        ("name='a b'", "23"), ("name=a b", "23"), ("state!=pending", ""), ("state=pending", "0123"), ("seed=9", ""),
    ],
)  # fmt: skip
def test_conditions_choose_what_they_choose_of_results(cli: Cli, condition: str, chosen: str) -> None:
    cli("add", "--sweep", "s", "-m", "name='ü','a b'", "lr=0.1,0.2", "seed=3", "--", "true")
    ids = [listed(cli, "s")[int(place)]["id"] for place in chosen]
    assert [row["id"] for row in json.loads(cli("results", "s", "--where", condition, "--json").out)] == ids
    assert [item["id"] for item in listed(cli, "--queue", "default", "--where", condition)] == ids
    assert cli("pause", "s", "--where", condition, "--dry-run").out.startswith(f"{len(ids)} would be paused")
    assert json.loads(cli("cancel", "s", "--where", condition, "--json").out)["cancelled"] == len(ids)
    assert [item["id"] for item in listed(cli, "s", "--state", "cancelled")] == ids


def test_a_condition_on_what_nothing_is_selected_of_changes_nothing(swept: Cli) -> None:
    assert swept("retry", "--state", "failed", "--where", "seed!=7").out == "0 queued again\n"
    assert swept("cancel", "s", "--queue", "other", "--where", "lr=1").out.startswith("0 waiting cancelled")


def test_a_priority_must_be_named(swept: Cli) -> None:
    result = swept("priority", "--sweep", "s")
    assert (result.code, result.out) == (2, "")
    assert "no priority given; it comes last" in result.err


def test_ended_items_of_a_deleted_queue_can_be_named_by_it(swept: Cli) -> None:
    swept("cancel", "t")
    assert swept("queue", "delete", "other").code == 0
    assert len(listed(swept, "--queue", "other")) == 4


# -- what changes --------------------------------------------------------------------------------------------------


def test_only_what_failed_under_a_condition_is_retried(swept: Cli) -> None:
    assert swept("agent", "--drain", "-j", "2").code == 0
    assert swept("retry", "--state", "failed", "--where", "model=svm").out == "2 queued again\n"
    assert points(listed(swept, "--state", "pending")) == ["s model=svm seed=2", "t model=svm seed=2"]
    assert swept("retry", "--where", "seed=1").out == "0 queued again\n"


def test_only_what_a_condition_selects_gets_another_priority(swept: Cli) -> None:
    assert swept("priority", "--sweep", "s", "--where", "seed=1", "high").out == "2 waiting items now high\n"
    assert [item["priority"] for item in listed(swept, "s")] == [1, 2, 1, 2]
    assert swept("priority", "t", "low", "--where", "model=mlp").out == "2 waiting items now low\n"
    assert [item["priority"] for item in listed(swept, "t")] == [2, 2, 3, 3]


def test_what_is_paused_waits_until_it_is_resumed(swept: Cli) -> None:
    assert swept("pause", "s", "--where", "model=svm").out == "2 paused, until launcher resume; 0 running go on\n"
    assert swept("pause", "s", "--json").out == '{\n  "paused": 2,\n  "running": 0\n}\n'
    assert swept("pause", "s").out.startswith("0 paused")
    assert swept("agent", "--drain", "-j", "2").code == 0
    assert {item["state"] for item in listed(swept, "s")} == {"pending"}
    assert {item["state"] for item in listed(swept, "t")} == {"finished", "failed"}
    assert json.loads(swept("resume", "--sweep", "s", "--where", "seed=1", "--json").out) == {"resumed": 2}
    assert swept("agent", "--drain", "-j", "2").code == 0
    assert Counter(item["state"] for item in listed(swept, "s")) == {"pending": 2, "finished": 2}
    assert swept("resume", "--all").out == "2 resumed\n"


def test_pausing_leaves_what_runs(project: Project, cli: Cli) -> None:
    project.write("program.py", "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)\n")
    cli("add", "--sweep", "s", "-m", "seed=1,2,3", "--", "python", "program.py")
    agent = project.start("agent", "--drain")
    while not listed(cli, "s", "--state", "running"):
        assert agent.poll() is None
    assert cli("pause", "s", "--dry-run").out.startswith("2 would be paused: 2 pending; nothing is written\n")
    assert cli("pause", "s").out == "2 paused, until launcher resume; 1 running goes on\n"
    assert cli("pause", "s", "--state", "pending").out == "0 paused, until launcher resume; 0 running go on\n"
    project.write("go", "")
    agent.communicate(timeout=60)
    assert [item["state"] for item in listed(cli, "s")] == ["finished", "pending", "pending"]


# -- dry runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("conditions", [["--all"], ["s", "--where", "seed=2"]])
def test_a_dry_run_says_what_would_change_and_writes_nothing(
    swept: Cli, project: Project, verb: str, conditions: list[str]
) -> None:
    swept("queue", "create", "flat", "--prioritization", "DISABLED")
    swept("add", "-q", "flat", "--sweep", "u", "-m", "seed=1,2", "--", "true")
    swept("cancel", "t", "--where", "model=mlp")
    swept("pause", "--where", "model=svm", "--where", "seed=1")
    swept("agent", "--drain", "-j", "2", "-q", "default")
    words = [verb, *conditions, *(["high"] if verb == "priority" else [])]
    store = project.folder / ".launcher"
    before = content(store)
    dry = json.loads(swept(*words, "--dry-run", "--json").out)
    told = swept(*words, "--dry-run").out
    assert content(store) == before
    really = json.loads(swept(*words, "--json").out)
    really.pop("priority", None)
    really.pop("running", None)
    assert dry["items"] == sum(really.values()) == sum(dry["states"].values())
    assert told.startswith(f"{dry['items']} would be ")
    assert "; nothing is written\n" in told
    assert len(dry["first"]) == min(5, dry["items"])
    assert all(item in told for item in dry["first"])
    assert (f"… and {dry['items'] - 5} more\n" in told) is (dry["items"] > 5)


def test_some_dry_runs_of_the_test_above_select_something(swept: Cli) -> None:
    assert swept("cancel", "s", "--dry-run").out.splitlines()[0] == (
        "4 would be cancelled or stopped: 4 pending; nothing is written"
    )
    swept("agent", "--drain", "-j", "2")
    assert swept("retry", "s", "--dry-run").out.splitlines()[0] == (
        "2 would be queued again: 2 failed; nothing is written"
    )


def test_a_dry_run_where_no_store_is_makes_none(cli: Cli, project: Project) -> None:
    assert cli("cancel", "--all", "--dry-run").out == "0 would be cancelled or stopped; nothing is written\n"
    assert not (project.folder / ".launcher").exists()


# -- what is held, in sight ----------------------------------------------------------------------------------------


def test_status_shows_what_is_held_and_why(swept: Cli) -> None:
    swept("pause", "s", "--where", "model=svm")
    lines = swept("status").out.splitlines()
    assert lines[1].split("  ")[1].strip() == "4 (2 paused)"
    assert "what is paused or held waits until launcher resume" in lines
    overview = json.loads(swept("status", "--json").out)
    assert [entry["held"] for entry in overview["queues"]] == [{"paused": 2}, {}]
    assert [entry["held"] for entry in overview["sweeps"]] == [{"paused": 2}, {}]
    items = swept("status", "s").out
    assert items.count("pending (paused)") == 2
    assert items.endswith("\n4 pending (2 paused)\n")
    [first, *_] = listed(swept, "s")
    assert "state      pending (paused)\n" in swept("show", first["id"]).out
    swept("resume", "s")
    assert "held" not in swept("status").out


def test_status_says_until_when_an_item_backs_off(cli: Cli, project: Project) -> None:
    project.write("s.yaml", "retry: {on: [failed], backoff: {initial: 1h, jitter: 0}}\n")
    cli("add", "s.yaml", "--", "false")
    agent = project.start("agent")
    while not listed(cli, "s")[0]["hold"]:
        assert agent.poll() is None
    agent.terminate()
    agent.communicate(timeout=60)
    assert re.search(r"pending \(backoff until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)", cli("status", "s").out)
    assert "1 (1 backing off)" in cli("status").out
    assert "launcher resume" not in cli("status").out
    assert cli("resume", "s").out == "0 resumed\n"
