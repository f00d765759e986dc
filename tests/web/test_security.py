"""Who may see and do what on the page; that nothing of a sweep is executed; that other sites can make nobody act."""

from __future__ import annotations

import html.parser
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.item import AgentInfo, ItemFilter, QueueInfo, Sweep
from launcher.outcome import Failed, Finished
from launcher.paths import RunPaths
from launcher.queues import Store
from launcher.server.access import revoke
from launcher.spec import LaunchSpec
from tests.web.conftest import LOCAL, Site, fill, spec, states, token

UNCHANGED = {"finished": 8, "failed": 2, "pending": 2}
XSS = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{1337*1337}}</textarea></title>javascript:alert(3)"


# -- cross-site scripting ---------------------------------------------------------------------------------------------


class Elements(html.parser.HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_harmless(text: str) -> None:
    for tag, attributes in Elements(text).found:
        if tag == "script":
            own = (attributes.get("src") or "").startswith("/assets/") or attributes.get("type") == "application/json"
            assert own, attributes
        if tag == "img":
            assert (attributes.get("src") or "").startswith("/assets/")
        assert not [name for name in attributes if name.startswith("on") or name == "style"], attributes
        for name in ("href", "src", "action", "hx-get"):
            address = attributes.get(name)
            assert address is None or address.startswith(("/", "?", "#")), address
    assert str(1337 * 1337) not in text  # no template was made of it


@pytest.fixture
def hostile(store: Store, tmp_path: Path) -> list[str]:
    """A sweep whose every text is a payload; the IDs of its items."""
    store.create_queue(QueueInfo(XSS, "local-process", description=XSS, links={XSS: XSS}))
    document = {
        "overrides": {"run_config": {XSS: XSS, "deep": {XSS: [XSS]}}, "entry_point": [XSS], "args": [XSS]},
        "resource": "local-process", "resource_args": {"local-process": {"env": {XSS: XSS}}}, "author": XSS,
        "docker": {"docker_image": XSS}, "job": XSS, "uri": XSS, "name": XSS, "project": XSS, "entity": XSS,
        "git": {"repo": XSS, "version": XSS},
    }  # fmt: skip
    specs = [
        LaunchSpec(document, queue_name=XSS, point=(f"{XSS}={XSS}{number}", f"lr={number % 2}")) for number in range(4)
    ]
    store.push(Sweep(XSS, XSS), specs)
    agent = AgentInfo(XSS, XSS, 1, 0.0, (XSS,), 2, 0.0, time.time())
    store.register(agent)
    leases = store.pop(XSS, [XSS], 3)
    for lease in leases:
        paths = RunPaths.of(tmp_path / "runs", lease.item.id, 1)
        paths.create({})
        paths.log.write_text(f"\x1b[31m{XSS}\x1b[0m\x1b]8;;{XSS}\x07link\x1b\\\n{XSS}", encoding="utf-8")
    store.ack((each, {"pid": 1}, str(RunPaths.of(tmp_path / "runs", each.item.id, 1).folder)) for each in leases)
    outcomes = [Failed("run", f"exit code 1: {XSS}", 1), Failed(XSS, XSS, 1), Finished({XSS: 1.0, "text": XSS})]
    store.finish(zip(leases, outcomes, strict=True))
    return [item.id for item in store.items(ItemFilter(sweep=XSS))]


def test_a_sweep_of_payloads_is_shown_harmlessly(site: Site, hostile: list[str]) -> None:
    overview = site.page("/")
    [address] = re.findall(r'href="(/sweeps/[^"]+)"', overview)
    pages = [overview, site.page(address), site.page(f"{address}?color=state"), site.page(f"/do/cancel{address}")]
    pages += [site.page(f"{address}?" + "&".join(f"{name}={XSS}" for name in ("where", "state", "sort", "gx", "plot")))]
    pages += [site.page("/?" + f"find={XSS}"), site.page(f"/?done={XSS}&count={XSS}")]
    for item in hostile:
        pages += [site.page(f"/items/{item}"), site.page(f"/do/cancel/items/{item}")]
    pages += [site.page(f"/logs/{item}") for item in hostile[:3]]
    pages += [site.page(f"/plots{address.removeprefix('/sweeps')}")] if site.get("/plots/x").status_code == 200 else []
    for page in pages:
        assert_harmless(page)
    assert "&lt;script&gt;alert(1)" in pages[1]


def test_errors_are_harmless_too(site: Site) -> None:
    for path in (f"/sweeps/{XSS}", f"/items/{XSS}", f"/nothing/{XSS}", f"/login?next={XSS}", f"/assets/{XSS}"):
        response = site.get(path)
        if response.headers["content-type"].startswith("text/html"):
            assert_harmless(response.text)


def test_every_page_forbids_scripts_of_others(site: Site) -> None:
    fill(site.store, site.folder)
    for path in ("/", "/sweeps/digits", "/login", "/sweeps/nothing", "/assets/launcher.js"):
        policy = site.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_a_download_is_never_a_page(site: Site) -> None:
    ids = fill(site.store, site.folder)
    response = site.get(f"/download/{ids[0]}")
    assert response.headers["content-type"].startswith("text/plain")
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_log_that_leads_elsewhere_is_not_followed(site: Site, tmp_path: Path) -> None:
    ids = fill(site.store, site.folder)
    secret = tmp_path / "secret"
    secret.write_text("do not show this")
    for failed in (ids[0], ids[5]):
        log = RunPaths.of(site.folder, failed, 1).log
        log.unlink()
        log.symlink_to(secret)
    for path in (f"/logs/{ids[0]}", f"/download/{ids[0]}"):
        assert site.get(path).status_code == 404
    for path in (f"/items/{ids[0]}", "/sweeps/digits"):
        assert "do not show this" not in site.page(path)


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
