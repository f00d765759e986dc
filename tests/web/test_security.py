"""Who may see and do what on the page; that other sites can make nobody act."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.item import ItemFilter, Sweep
from launcher.server.access import revoke
from tests.web.conftest import LOCAL, Site, fill, spec, states, token

UNCHANGED = {"finished": 8, "failed": 2, "pending": 2}


# -- logging in -------------------------------------------------------------------------------------------------------


def test_with_users_nobody_sees_anything_without_a_key(site: Site, keys: dict[str, str]) -> None:
    ids = fill(site.store, site.folder)
    for path in ("/", "/sweeps/digits?sort=lr", f"/items/{ids[0]}", f"/logs/{ids[0]}", "/do/cancel/sweeps/digits"):
        response = site.get(path)
        assert response.status_code == 303, path
        assert response.headers["location"].startswith("/login?next=")
    assert site.get("/live/overview").status_code == 401
    assert site.client.post("/do/cancel/sweeps/digits", follow_redirects=False).status_code == 303
    assert len(list(site.store.items(ItemFilter(sweep="digits")))) == 12


def test_a_key_opens_a_session_whose_cookie_no_script_and_no_site_gets(site: Site, keys: dict[str, str]) -> None:
    response = site.login(keys["ann"])
    assert response.status_code == 303
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert keys["ann"].lower() not in cookie
    assert ">ann</span>" in site.page("/")


@pytest.mark.parametrize("key", ["", "x", "a" * 40, "ü" * 40, "' OR 1=1 --"])
def test_a_wrong_key_opens_nothing(site: Site, keys: dict[str, str], key: str) -> None:
    response = site.login(key)
    assert response.status_code == 403
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),
        lambda text: ("a" if text[0] != "a" else "b") + text[1:],
        lambda text: text.replace(".", ".9", 1),
        lambda _: "",
        lambda _: "..",
        lambda text: text.partition(".")[0],
    ],
)
def test_a_changed_cookie_opens_nothing(site: Site, keys: dict[str, str], change) -> None:  # type: ignore[no-untyped-def]
    site.login(keys["ann"])
    cookie = change(site.client.cookies["launcher_session"])
    site.client.cookies.clear()
    assert site.get("/", headers={"cookie": f"launcher_session={cookie}"}).status_code == 303


def test_a_session_ends_with_its_user(site: Site, keys: dict[str, str]) -> None:
    site.login(keys["ann"])
    assert site.get("/").status_code == 200
    revoke(site.store, "ann")
    deadline = time.monotonic() + 60
    while site.get("/").status_code == 200:  # the server looks for users every second
        assert time.monotonic() < deadline


def test_logging_out_ends_the_session(site: Site, keys: dict[str, str]) -> None:
    site.login(keys["ann"])
    site.client.post("/logout", data={"token": token(site.page("/"))}, follow_redirects=False)
    assert site.get("/").status_code == 303


def test_a_session_outlives_a_restart(site: Site, keys: dict[str, str], tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from tests.web.conftest import _app

    site.login(keys["ann"])
    again = TestClient(_app(site.store, tmp_path), base_url=LOCAL, cookies=dict(site.client.cookies))
    assert again.get("/", follow_redirects=False).status_code == 200


def test_a_link_on_another_site_leads_to_the_page_not_to_the_login(site: Site, keys: dict[str, str]) -> None:
    response = site.get("/sweeps/digits", headers={"sec-fetch-site": "cross-site"})
    assert response.status_code == 200
    assert 'http-equiv="refresh"' in response.text


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "evil", "/a\nb", "\\\\evil"],
)
def test_the_login_leads_only_to_this_site(site: Site, keys: dict[str, str], target: str) -> None:
    response = site.client.post("/login", data={"key": keys["ann"], "next": target}, follow_redirects=False)
    assert response.headers["location"] == "/"


# -- roles ------------------------------------------------------------------------------------------------------------


def test_what_belongs_to_others_is_not_there(site: Site, keys: dict[str, str]) -> None:
    ids = fill(site.store, site.folder)
    site.store.push(Sweep("secret"), [spec(0, queue="gpu")])
    [secret] = [item.id for item in site.store.items(ItemFilter(sweep="secret"))]
    site.login(keys["bob"])
    html = site.page("/")
    assert "/sweeps/digits" not in html
    assert "gpu" not in html
    for path in ("/sweeps/digits", f"/items/{ids[0]}", f"/logs/{ids[0]}", f"/download/{ids[0]}", "/sweeps/secret",
                 f"/live/items/{ids[0]}", "/live/sweeps/digits"):  # fmt: skip
        assert site.get(path).status_code == 404, path
    site.client.cookies.clear()
    site.login(keys["mel"])
    assert site.get("/sweeps/digits").status_code == 200
    assert site.get(f"/items/{secret}").status_code == 404


def test_items_of_a_deleted_queue_are_still_their_teams(site: Site, keys: dict[str, str]) -> None:
    made = spec(0, queue="gpu")
    site.store.push(None, [replace(made, document={**made.document, "queue_entity": "team"})])
    (item,) = site.store.items(ItemFilter(queue="gpu"))
    site.store.cancel(ItemFilter(queue="gpu"), "ann")
    site.store.delete_queue("gpu")
    for name, status in (("mel", 404), ("ann", 200)):
        site.client.cookies.clear()
        site.login(keys[name])
        assert site.get(f"/items/{item.id}").status_code == status


def test_of_a_sweep_over_queues_of_two_teams_each_sees_and_changes_its_own(site: Site, keys: dict[str, str]) -> None:
    site.store.push(Sweep("both"), [spec(0), spec(1, queue="gpu"), spec(2, queue="gpu")])
    site.login(keys["mel"])
    assert "1</b>" in site.page("/sweeps/both")
    site.act("/do/cancel/sweeps/both")
    states = sorted((item.queue, item.state.value) for item in site.store.items(ItemFilter(sweep="both")))
    assert states == [("default", "cancelled"), ("gpu", "pending"), ("gpu", "pending")]


def test_a_viewer_reads_and_a_member_changes_no_queue(site: Site, keys: dict[str, str]) -> None:
    fill(site.store, site.folder)
    site.login(keys["eve"])
    assert 'id="do-cancel"' not in site.page("/sweeps/digits")
    assert site.get("/do/cancel/sweeps/digits").status_code == 403
    form = {"token": token(site.page("/"))}
    assert site.client.post("/do/cancel/sweeps/digits", data=form, follow_redirects=False).status_code == 403
    site.client.cookies.clear()
    site.login(keys["mel"])
    assert 'id="do-cancel"' in site.page("/sweeps/digits")
    assert site.get("/do/pause/queues/default").status_code == 403


# -- other sites ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://localhost:9"},
        {"origin": "http://localhost.evil.example"},
        {"origin": "http://["},
    ],
)
@pytest.mark.parametrize("users", [False, True])
def test_posts_of_other_sites_are_refused(
    site: Site, request: pytest.FixtureRequest, headers: dict[str, str], users: bool
) -> None:
    fill(site.store, site.folder)
    if users:
        site.login(request.getfixturevalue("keys")["ann"])
    form = {"token": token(site.page("/do/cancel/sweeps/digits"))}
    response = site.client.post("/do/cancel/sweeps/digits", data=form, headers=headers, follow_redirects=False)
    assert response.status_code == 403
    assert site.client.post("/login", data={"key": "x"}, headers=headers).status_code == 403
    assert states(site.store) == UNCHANGED


@pytest.mark.parametrize("forged", ["", "0" * 64, "ü"])
@pytest.mark.parametrize("users", [False, True])
def test_a_form_without_its_token_does_nothing(
    site: Site, request: pytest.FixtureRequest, forged: str, users: bool
) -> None:
    fill(site.store, site.folder)
    if users:
        site.login(request.getfixturevalue("keys")["ann"])
    response = site.client.post("/do/cancel/sweeps/digits", data={"token": forged}, follow_redirects=False)
    assert response.status_code == 403
    assert site.client.post("/do/cancel/sweeps/digits", follow_redirects=False).status_code == 403


def test_the_token_of_one_session_is_none_of_another(site: Site, keys: dict[str, str]) -> None:
    fill(site.store, site.folder)
    site.login(keys["mel"])
    stolen = token(site.page("/"))
    site.client.cookies.clear()
    site.login(keys["ann"])
    response = site.client.post("/do/cancel/sweeps/digits", data={"token": stolen}, follow_redirects=False)
    assert response.status_code == 403


def test_getting_never_acts(site: Site) -> None:
    fill(site.store, site.folder)
    for verb in ("cancel", "retry", "pause", "priority"):
        site.page(f"/do/{verb}/sweeps/digits")
    assert states(site.store) == UNCHANGED


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "["]
)
def test_without_users_no_other_name_leads_here(site: Site, host: str) -> None:
    fill(site.store, site.folder)
    for path in ("/", "/sweeps/digits", "/live/overview", "/do/cancel/sweeps/digits"):
        response = site.get(path, headers={"host": host})
        assert response.status_code in (400, 403), path
        assert "digits" not in response.text.replace("/sweeps/digits", "")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1"])
def test_without_users_this_machine_is_let_in(site: Site, host: str) -> None:
    assert site.get("/", headers={"host": host}).status_code == 200


def test_a_large_form_is_refused(site: Site) -> None:
    fill(site.store, site.folder)
    response = site.client.post("/do/cancel/sweeps/digits", data={"token": "x" * (1 << 17)}, follow_redirects=False)
    assert response.status_code == 400
