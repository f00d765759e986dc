"""Requests that a browser sends for the page of another site: none is answered, whether the server has users or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests
from starlette.routing import Route

from launcher.item import ItemFilter, QueueInfo
from launcher.queues import Store
from tests.server.conftest import Served, serving
from tests.server.test_protocol import PUSH, spec

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:9"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


def refused(response: requests.Response) -> bool:
    """Whether it is refused, without asking whoever sits there for a key."""
    told = response.json().get("errors") or [{"message": ""}]
    asked = "WWW-Authenticate" in response.headers
    return response.status_code == 403 and "another site" in told[0]["message"] and not asked


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_site_pushes_nothing_to_a_server_without_users(
    headers: dict[str, str], store: Store, tmp_path: Path
) -> None:
    pytest.importorskip("graphql", reason="no extra server: launcher[server] is not installed")
    store.create_queue(QueueInfo("gpu", "local-container", entity="home"))
    body = {"query": PUSH.replace('"team"', '"home"'), "variables": {"queue": "gpu", "spec": spec(entity="home")}}
    for url in serving(store, tmp_path / "server"):
        for more in ({}, {"Content-Type": "text/plain"}):  # a form's, which a browser sends without asking before
            sent = {**headers, **more}
            assert refused(requests.post(url + "/graphql", json=body, headers=sent, auth=("api", "k" * 40), timeout=9))
        assert refused(requests.post(url + "/graphql", json=body, headers=headers, timeout=9))
        assert list(store.items(ItemFilter())) == []
        own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        assert requests.post(url + "/graphql", json=body, headers=own, auth=("api", "k" * 40), timeout=9).ok
        assert len(list(store.items(ItemFilter()))) == 1


@pytest.mark.parametrize("headers", FOREIGN)
def test_nothing_that_needs_a_key_is_answered_to_another_site(
    headers: dict[str, str], served: Served, tmp_path: Path
) -> None:
    from launcher.server.app import create_app, wandb_routes

    app = create_app(served.store, tmp_path / "routes", groups=[wandb_routes])
    paths = [re.sub(r"{[^}]*}", "x", route.path) for route in app.routes if isinstance(route, Route)]
    assert len(paths) > 3
    for path in paths:
        method = "GET" if path.startswith("/artifacts") else "POST"
        key = ("api", served.keys["ann"])
        assert refused(requests.request(method, served.url + path, json={}, auth=key, headers=headers, timeout=9)), path
