"""The page of the tests: the application over a store of its own, asked by Starlette's client, or as a server of its
own for browsers; and sweeps to look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launcher.item import ItemFilter, QueueInfo, Sweep
from launcher.outcome import Failed, Finished
from launcher.paths import RunPaths
from launcher.queues import Store
from launcher.server.access import add_user
from launcher.spec import LaunchSpec

LOCAL = "http://localhost"


def spec(number: int, *, queue: str = "default", **more: Any) -> LaunchSpec:
    model, lr = ("svm", "mlp")[number % 2], 10.0 ** -(number // 2 % 3)
    config = {"seed": number // 6, "model": {"name": model}, "shared": {"depth": 3}}
    document = {"overrides": {"run_config": config, "entry_point": ["python", "train.py"]}, "resource": "local-process"}
    point = (f"model={model}", f"lr={lr:g}", f"seed={number // 6}")
    return LaunchSpec(document, queue_name=queue, point=point, **more)


def fill(store: Store, folder: Path, name: str = "digits", count: int = 12, waiting: int = 2) -> list[str]:
    """A sweep with runs that finished, failed (every fifth) and, at last, wait; their IDs, oldest first."""
    store.push(Sweep(name, "accuracy"), map(spec, range(count)))
    ids = [item.id for item in store.items(ItemFilter(sweep=name))]
    leases = store.pop("agent", ["default"], count - waiting)
    for lease in leases:
        paths = RunPaths.of(folder, lease.item.id, 1)
        paths.create({})
        paths.log.write_text(f"\x1b[32mstep\x1b[0m of {lease.item.id}\n", encoding="utf-8")
    store.ack((lease, {"pid": 1}, str(RunPaths.of(folder, lease.item.id, 1).folder)) for lease in leases)
    store.finish((lease, ending(number)) for number, lease in enumerate(leases))
    return ids


def ending(number: int) -> Finished | Failed:
    if number % 5 == 0:
        return Failed("run", "exit code 1: ValueError: bad lr 0.5 (train.py:9 in fit)", 1)
    return Finished({"accuracy": number / 10, "loss": 1 - number / 10})


def states(store: Store, name: str = "digits") -> dict[str, int]:
    found: dict[str, int] = {}
    for item in store.items(ItemFilter(sweep=name)):
        found[item.state.value] = found.get(item.state.value, 0) + 1
    return found


@dataclass
class Site:
    """The page, as one client sees it."""

    store: Store
    folder: Path
    client: Any
    new_client: Callable[[str], Any]

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(path, follow_redirects=False, **more)

    def page(self, path: str) -> str:
        """The HTML of a page that there is."""
        response = self.get(path)
        assert response.status_code == 200, response.text
        return str(response.text)

    def act(self, path: str, **fields: str) -> Any:
        """What the form of an action answers, filled in as its page has it."""
        return self.client.post(path, data={"token": token(self.page(path)), **fields}, follow_redirects=False)

    def login(self, key: str) -> Any:
        return self.client.post("/login", data={"key": key, "next": "/"}, follow_redirects=False)


def token(html: str) -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', html)
    assert found
    return found[1]


def _app(store: Store, folder: Path) -> Any:
    from launcher.server.app import create_app, storage_routes, wandb_routes
    from launcher.web.pages import web_routes

    return create_app(store, folder / "server", entity="home", groups=(wandb_routes, storage_routes, web_routes))


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Iterator[Site]:
    """The page of a store without users, at localhost."""
    for name in ("graphql", "starlette", "jinja2", "httpx"):
        pytest.importorskip(name, reason="no extra server: launcher[server] is not installed")
    from starlette.testclient import TestClient

    app = _app(store, tmp_path)

    def client(base: str) -> Any:
        return TestClient(app, base_url=base, raise_server_exceptions=True)

    with TestClient(app, base_url=LOCAL) as local:
        yield Site(store, tmp_path / "runs", local, client)


@pytest.fixture
def keys(store: Store) -> dict[str, str]:
    """Users with roles: ann is admin of team and home, mel member of home, eve viewer of home, bob admin of lab. The
    queue gpu is team's."""
    store.create_queue(QueueInfo("gpu", "local-process", entity="team"))
    return {
        "ann": add_user(store, "ann", {"team": "admin", "home": "admin"}),
        "mel": add_user(store, "mel", {"home": "member"}),
        "eve": add_user(store, "eve", {"home": "viewer"}),
        "bob": add_user(store, "bob", {"lab": "admin"}),
    }
