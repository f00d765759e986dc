"""What a sweep's scheduler may be as a process of an agent, which runs it beside whatever a queue allows: W&B's own
program, and nothing of what its client's spec could add to that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from launcher.item import ItemFilter, QueueInfo
from launcher.server.access import add_user
from tests.conftest import until
from tests.server.conftest import Served
from tests.server.test_sweeps import GRID, UPSERT, launch

ENTRY = ["wandb", "scheduler", "WANDB_SWEEP_ID"]


@pytest.fixture
def locked(served: Served) -> Served:
    """A queue for containers, whose rules a member may not change."""
    served.store.create_queue(QueueInfo("gpu", "local-container", entity="team", allow_overrides=False))
    served.keys["mel"] = add_user(served.store, "mel", {"team": "member"})
    until(lambda: served.ask("{ viewer { id } }", "mel").status_code == 200, "that the server has read the users again")
    return served


def with_arguments(*arguments: str) -> dict[str, Any]:
    return {"overrides": {"entry_point": ENTRY, "args": arguments}}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"resource_args": {"local-process": {"env": {"BROWSER": "sh -c id"}}}}, "resource_args"),
        ({"retry": {"max_attempts": 99}}, "retry"),
        ({"secrets": {"TOKEN": "env:TOKEN"}}, "secrets"),
        ({"template_variables": {"a": 1}}, "template_variables"),
        ({"overrides": {"entry_point": ENTRY, "files": {"sitecustomize.py": "x"}}}, "overrides.files"),
        (with_arguments("--queue", "gpu;id"), "overrides.args: --queue is 'gpu;id'"),
        (with_arguments("--queue", "'$(id)' $(id)"), "overrides.args: --queue"),
        (with_arguments("--queue", '"$(id)"'), "overrides.args: --queue"),
        (with_arguments("--queue", "'--entity'"), "overrides.args: --queue"),
        (with_arguments("--queue"), "overrides.args: --queue"),
        (with_arguments("--quite", "gpu"), "did you mean '--queue'?"),
    ],
)
def test_what_a_scheduler_does_not_need_is_refused(more: dict[str, Any], named: str, locked: Served) -> None:
    response = locked.ask(UPSERT, "mel", entity="team", config=GRID, launch=launch(**more))
    assert response.status_code == 400, response.text
    assert named in response.json()["errors"][0]["message"]
    assert list(locked.store.items(ItemFilter())) == []


def test_a_resumed_sweeps_scheduler_is_checked_as_well(locked: Served) -> None:
    made = locked.data(UPSERT, "mel", entity="team", config=GRID, launch=launch())["upsertSweep"]["sweep"]
    locked.store.cancel(ItemFilter(ids=(made["name"],)), "mel")
    evil = launch(resource_args={"local-process": {"env": {"PATH": "/evil"}}})
    assert locked.ask(UPSERT, "mel", entity="team", id=made["id"], launch=evil).status_code == 400
    assert "/evil" not in json.dumps(locked.store.document(made["name"]))


def test_a_scheduler_is_made_of_what_it_needs(locked: Served) -> None:
    config = {"scheduler": {"num_workers": 2}, "launch": {"priority": 1}}
    arguments = ["--queue", "'gpu'", "--project", "'a b'", "--image_uri", "ghcr.io/team/box:1"]
    spec = launch(
        docker={"args": {"privileged": True}}, git={"repo": "https://evil/x.git"}, registry={"url": "x"}, sweep_id="x",
        overrides={"entry_point": ENTRY, "args": arguments, "run_config": config},
    )  # fmt: skip
    name = locked.data(UPSERT, "mel", entity="team", config=GRID, launch=spec)["upsertSweep"]["sweep"]["name"]
    assert locked.store.item(name).sweep is None
    assert {key: value for key, value in locked.store.document(name).items() if value} == {
        "uri": "placeholder-uri-scheduler", "entity": "team", "project": "p", "name": f"Scheduler.{name}",
        "run_id": name, "resource": "local-process", "author": "mel", "queue_entity": "team",
        "overrides": {
            "entry_point": ["wandb", "scheduler", name], "run_config": config,
            "args": ["--queue", "gpu", "--project", "'a b'", "--image_uri", "ghcr.io/team/box:1"],
        },
    }  # fmt: skip
