"""Nothing of a sweep is executed on the page, whatever its texts are; and nothing is shown that a log only leads to."""

from __future__ import annotations

import html.parser
import re
import time
from pathlib import Path

import pytest

from launcher.item import AgentInfo, ItemFilter, QueueInfo, Sweep
from launcher.outcome import Failed, Finished
from launcher.paths import RunPaths
from launcher.queues import Store
from launcher.spec import LaunchSpec
from tests.web.conftest import Site, fill

XSS = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{1337*1337}}</textarea></title>javascript:alert(3)"


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
