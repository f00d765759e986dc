"""Why items waited, and what happened to them, as people are told."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from launcher.item import ItemFilter
from launcher.outcome import Finished, Ran
from launcher.queues import Store, open_store
from launcher.waits import ALL_NEEDS, Stall
from launcher.words import moment
from tests.conftest import Project, Result, until
from tests.queues.steps import agent, pop

Cli = Callable[..., Result]


@pytest.fixture
def target(project: Project) -> Iterator[Store]:
    store = open_store(project.store_url)
    yield store
    store.close()


def add(cli: Cli, *grid: str) -> list[str]:
    done = cli("add", "--sweep", "s", "--json", "-m", *grid, "--", "true")
    assert done.code == 0, done.err
    return json.loads(done.out)["ids"]  # type: ignore[no-any-return]


def fact(shown: str, name: str) -> str:
    """What `show` says under a name; empty if nothing."""
    head = shown.split("story\n", maxsplit=1)[0]
    return next((line[11:] for line in head.splitlines() if line.startswith(f"{name:<10} ")), "")


def told(cli: Cli, item_id: str) -> dict[str, Any]:
    return json.loads(cli("show", item_id, "--json").out)  # type: ignore[no-any-return]


# -- show ---------------------------------------------------------------------------------------------------------


def test_a_waiting_item_says_what_it_waits_for_and_its_place(cli: Cli, target: Store) -> None:
    first, _, third = add(cli, "seed=range(3)")
    assert fact(cli("show", third).out, "waits for") == "no agent; 2 items ahead in its queue"
    assert fact(cli("show", first).out, "waits for") == "no agent; 0 items ahead in its queue"
    target.register(agent("a"))
    assert fact(cli("show", third).out, "waits for") == "its turn had not come; 2 items ahead in its queue"
    target.pause_queue("default", paused=True)
    assert fact(cli("show", third).out, "waits for") == "queue paused; 2 items ahead in its queue"
    target.hold(ItemFilter(sweep="s"))
    assert fact(cli("show", third).out, "waits for") == "paused by hand"
    assert (told(cli, third)["waits_for"], told(cli, third)["ahead"]) == ("paused by hand", None)


def test_an_item_that_backs_off_says_until_when(cli: Cli, project: Project) -> None:
    project.write("conf/launch/again.yaml", "retry: {'on': [failed], backoff: {initial: 1h}}\n")
    [item] = json.loads(cli("add", "--json", "+launch=again", "--", "false").out)["ids"]
    worker = project.start("agent")
    until(lambda: told(cli, item)["hold"] == "backoff")
    shown = cli("show", item).out
    worker.terminate()
    worker.communicate(timeout=60)
    assert fact(shown, "waits for").startswith("backoff after a failure, until 20")
    assert "exit code 1; held: backoff after a failure" in shown.split("story\n")[1]


def test_a_run_that_ended_while_nobody_watched_tells_when(cli: Cli, target: Store) -> None:
    [item] = add(cli, "seed=1")
    [lease] = pop(target)
    target.ack([(lease, {"pid": 1}, "/runs/x")])
    ended = time.time() - 7200
    target.finish([(lease, Finished(ran=Ran(ended - 90, ended)))])
    shown = cli("show", item).out
    assert fact(shown, "took") == "1 m 30 s"
    assert f"; it had ended at {moment(ended)}, after 1 m 30 s\n" in shown


def test_an_item_tells_how_long_it_waited_for_what(project: Project, cli: Cli, target: Store) -> None:
    [item] = add(cli, "seed=1")
    with sqlite3.connect(project.folder / ".launcher/store.db") as db:
        db.execute("UPDATE items SET added_at = added_at - 192")
    db.close()
    added = target.item(item).added_at
    target.register(agent("a", started_at=added - 5))
    records = [("queue limit", 0.0, 170.0), ("no free GPU", 160.0, 600.0)]
    [lease] = pop(target)
    target.stalled([Stall("default", ALL_NEEDS, "a", cause, added + a, added + b) for cause, a, b in records])
    target.finish([(lease, Finished())])
    shown = cli("show", item).out
    assert re.match(r"3 m 1[2-9] s: queue limit 2 m 50 s, no free GPU 2\d.\d s$", fact(shown, "waited"))
    leased = next(line for line in shown.splitlines() if "leased by" in line)
    assert re.search(r"leased by a, after 3 m 1\d s pending \(queue limit 2 m 50 s, no free GPU 2\d.\d s\)$", leased)
    waited = told(cli, item)["waited"]
    assert waited["causes"]["queue limit"] == pytest.approx(170)
    assert sum(waited["causes"].values()) == pytest.approx(waited["seconds"])


def test_an_agent_records_that_the_limit_of_a_queue_is_reached(cli: Cli, project: Project, target: Store) -> None:
    cli("queue", "update", "default", "--max-running", "1")
    project.write("waits.py", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n")
    ids = json.loads(cli("add", "--json", "-m", "seed=1,2", "--", "python", "waits.py").out)["ids"]
    worker = project.start("agent", "-j", "2", "--drain")
    until(lambda: target.stalls(ids[1]), "the record of a stall")
    assert fact(cli("show", ids[1]).out, "waits for") == "queue limit; 0 items ahead in its queue"
    project.write("go", "")
    assert worker.wait(60) == 0
    worker.communicate()
    causes = told(cli, ids[1])["waited"]["causes"]
    assert causes["queue limit"] >= 1
    assert sum(causes.values()) == pytest.approx(told(cli, ids[1])["waited"]["seconds"])


def test_an_agent_records_that_it_has_no_free_place(cli: Cli, project: Project, target: Store) -> None:
    project.write("waits.py", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n")
    ids = json.loads(cli("add", "--json", "-m", "seed=1,2", "--", "python", "waits.py").out)["ids"]
    worker = project.start("agent", "--drain")
    until(lambda: target.stalls(ids[1]), "the record of a stall")
    project.write("go", "")
    assert worker.wait(60) == 0
    worker.communicate()
    assert told(cli, ids[1])["waited"]["causes"]["no free place"] >= 1


# -- events -------------------------------------------------------------------------------------------------------


def test_events_are_told_oldest_first(cli: Cli, target: Store) -> None:
    first, second = add(cli, "seed=1,2")
    target.hold(ItemFilter(ids=(second,)))
    [lease] = pop(target, "a")
    target.finish([(lease, Finished())])
    cli("cancel", second)
    lines = [line.split("  ", 1)[1] for line in cli("events").out.splitlines()]
    assert lines[:3] == [
        f"{second}  held: paused by hand",
        f"{first}  pending → leased by a",
        f"{first}  leased → finished by a",
    ]
    assert lines[3].startswith(f"{second}  pending → cancelled by ")
    assert lines[3].endswith(": cancelled while waiting")
    assert [line.split("  ", 1)[1] for line in cli("events", first).out.splitlines()] == lines[1:3]
    both = [line.split("  ", 1)[1] for line in cli("events", first, "s", second).out.splitlines()]
    assert both == lines


def test_events_as_json_one_a_line(cli: Cli, target: Store) -> None:
    [item] = add(cli, "seed=1")
    pop(target, "a")
    [line] = cli("events", "s", "--json").out.splitlines()
    entry = json.loads(line)
    assert (entry["item"], entry["sweep"], entry["queue"]) == (item, "s", "default")
    assert (entry["before"], entry["after"], entry["attempt"], entry["actor"]) == ("pending", "leased", 1, "a")
    assert abs(entry["at"] - time.time()) < 600


def test_events_since_a_while_ago(cli: Cli, target: Store) -> None:
    add(cli, "seed=1")
    pop(target)
    assert len(cli("events", "--since", "10m").out.splitlines()) == 1
    assert cli("events", "--since", "0s").out == ""
    bad = cli("events", "--since", "soon")
    assert bad.code == 2
    assert "'soon' is no span of time" in bad.err


def test_events_of_what_is_not_there(cli: Cli) -> None:
    assert cli("events", "nothing").code == 1
    assert cli("events").out == ""


def test_many_events_are_read_page_by_page(cli: Cli, target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.analysis.story.PAGE", 3)
    ids = add(cli, "seed=range(8)")
    pop(target)
    assert [line.split("  ")[1] for line in cli("events").out.splitlines()] == ids


def test_events_are_followed_until_ctrl_c(project: Project, cli: Cli, target: Store) -> None:
    add(cli, "seed=1,2")
    [lease] = pop(target, limit=1)
    follower = project.start("events", "-f", "s")
    assert follower.stdout is not None
    assert "pending → leased" in follower.stdout.readline()
    target.finish([(lease, Finished())])
    assert "leased → finished" in follower.stdout.readline()
    pop(target, "b")
    assert "pending → leased by b" in follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=60)
    assert (follower.returncode, out, err.strip()) == (130, "", "launcher: interrupted")


def test_a_reader_that_has_seen_enough_makes_no_error(project: Project, cli: Cli, target: Store) -> None:
    add(cli, "seed=range(2000)")
    pop(target, limit=2000)
    process = project.start("events")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 1
