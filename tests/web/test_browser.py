"""The page in Chromium during a real digits sweep: overview, sweep, live log, cancel, retry; and what axe-core says of
its accessibility, by light and by dark, on a wide screen and on a phone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.item import ItemFilter, RunState, Sweep
from launcher.queues import Store
from launcher.server.access import add_user
from launcher.spec import LaunchSpec
from tests.conftest import REPOSITORY, Project, needs, until
from tests.web.browser import browser, chromium_missing
from tests.web.conftest import fill, spec
from tests.web.test_live import serving

AXE = Path(__file__).parent / "vendor" / "axe-4.11.0.min.js"
PATIENCE = 60_000
"""Milliseconds, as Playwright counts."""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    missing = chromium_missing()
    needs("chromium", missing is None, str(missing))
    pytest.importorskip("playwright", reason="no playwright: it comes with the extra dev")
    with browser(tmp_path_factory.mktemp("profile"), viewport={"width": 1280, "height": 900}) as made:
        made.set_default_timeout(PATIENCE)
        yield made


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """A tab; what goes wrong in it fails the test."""
    made, problems = context.new_page(), []
    made.on("pageerror", lambda error: problems.append(str(error)))
    made.on("console", lambda told: problems.append(told.text) if "Content Security Policy" in told.text else None)
    yield made
    made.close()
    assert problems == []


@pytest.fixture
def address(store: Store, tmp_path: Path) -> Iterator[str]:
    yield from serving(store, tmp_path)


def seen(page: Any, text: str) -> None:
    page.get_by_text(text).first.wait_for()


@pytest.fixture
def digits(store: Store) -> Store:
    """Three points of this repository's digits sweep; an agent takes them when it is started."""
    pytest.importorskip("sklearn", reason="no extra examples: launcher[examples] is not installed")
    command = [sys.executable, "-m", "launcher", "add", "--store", store.url, "--sweep", "digits", "-m"]
    done = subprocess.run(
        [*command, "experiment=digits", "seed=0,1,2"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return store


def agent(store: Store, tmp_path: Path) -> Any:
    command = [sys.executable, "-m", "launcher", "agent", "--drain", "--max-jobs", "1", "--store", store.url]
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*command, "--dir", str(tmp_path / "agent")], stdout=quiet, stderr=quiet)


def test_a_walk_through_a_real_sweep(digits: Store, address: str, page: Any, tmp_path: Path) -> None:
    page.goto(address)
    page.get_by_role("link", name="digits").click()
    page.get_by_role("heading", name="digits", level=1).wait_for()
    page.locator("ul.legend", has_text="pending 3").wait_for()
    running = agent(digits, tmp_path)
    try:  # the page follows by itself until the end
        page.locator("#run-1").wait_for()
        page.locator("ul.legend", has_text="finished 3").wait_for()
        page.locator("#best").click()
        page.locator("#log", has_text="accuracy").wait_for()
        seen(page, "python -m launcher.examples.digits")
        page.get_by_role("link", name="Whole log").click()
        page.locator("pre", has_text="accuracy").wait_for()
    finally:
        assert running.wait(60) == 0


SLOW = r"""
import time
for number in range(100_000):
    print(f"\x1b[32mstep {number}\x1b[0m", flush=True)
    time.sleep(0.2)
"""


def test_a_live_log_then_cancel_and_retry(
    store: Store, address: str, page: Any, tmp_path: Path, project: Project
) -> None:
    project.write("slow.py", SLOW)
    added = project.run("add", "--store", store.url, "--sweep", "slow", "--", "python", "slow.py")
    assert added.code == 0, added.err
    [item] = store.items(ItemFilter(sweep="slow"))
    running = agent(store, tmp_path)
    try:
        page.goto(f"{address}/items/{item.id}")
        page.locator("#log .a2", has_text="step 5").wait_for()
        page.get_by_role("link", name="Cancel").click()
        page.get_by_role("button", name="Yes, cancel").click()
        seen(page, "1 run cancelled")
        page.locator(".lead", has_text="cancelled").wait_for()
        page.get_by_role("link", name="Retry").click()
        page.get_by_role("button", name="Yes, retry").click()
        page.locator(".lead", has_text="pending").or_(page.locator(".lead", has_text="running")).first.wait_for()
        page.get_by_role("link", name="Cancel").click()
        page.get_by_role("button", name="Yes, cancel").click()
        until(lambda: store.item(item.id).state is RunState.CANCELLED, "the end")
    finally:
        assert running.wait(60) == 0


def test_the_page_survives_a_restart_of_its_server(store: Store, tmp_path: Path, page: Any) -> None:
    store.push(Sweep("digits"), [spec(0)])
    server = serving(store, tmp_path)
    address = next(server)
    page.goto(f"{address}/sweeps/digits")
    page.locator("ul.legend", has_text="pending 1").wait_for()
    for _ in server:
        pass
    page.locator("#offline").wait_for()
    store.push(Sweep("digits"), [spec(1)])
    for _ in serving(store, tmp_path, int(address.rpartition(":")[2])):
        page.locator("ul.legend", has_text="pending 2").wait_for()
        page.locator("#offline").wait_for(state="hidden")


def hide(page: Any, hidden: bool) -> None:
    """What a browser with a window does when another tab is chosen; one without holds all tabs for visible."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_tabs_that_are_not_looked_at_hold_no_connection(
    store: Store, address: str, page: Any, context: Any, tmp_path: Path
) -> None:
    waiting = fill(store, tmp_path / "runs")[-1]
    paths = ["/", "/sweeps/digits", f"/items/{waiting}"] * 2
    tabs = [context.new_page() for _ in paths]
    for tab, path in zip(tabs, paths, strict=True):
        with tab.expect_request("**/live/**"):
            tab.goto(address + path)
        hide(tab, True)
    page.goto(address)  # browsers open six connections to a server
    page.locator("#sweep-1").wait_for()
    store.push(Sweep("digits"), [spec(12)])
    hide(tabs[1], False)
    tabs[1].locator("ul.legend", has_text="pending 3").wait_for()
    for tab in tabs:
        tab.close()


def test_pages_of_what_ended_hold_no_connection(
    store: Store, address: str, page: Any, context: Any, tmp_path: Path
) -> None:
    ids = fill(store, tmp_path / "runs", waiting=0)
    tabs = [context.new_page() for _ in range(7)]
    for tab, path in zip(tabs, ["/sweeps/digits", *(f"/items/{item}" for item in ids)], strict=False):
        tab.goto(address + path)
    page.goto(address)
    page.locator("#sweep-1").wait_for()
    store.retry(ItemFilter(ids=(ids[0],)), "ann")
    hide(tabs[1], True)
    hide(tabs[1], False)  # who comes back sees what it is now
    tabs[1].locator(".lead", has_text="pending").wait_for()
    for tab in tabs:
        tab.close()


def test_an_action_is_taken_by_keyboard_alone(store: Store, address: str, page: Any, tmp_path: Path) -> None:
    fill(store, tmp_path / "runs")
    page.goto(f"{address}/sweeps/digits")
    page.locator("#do-cancel").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Yes, cancel").focus()
    page.keyboard.press("Enter")
    seen(page, "2 runs cancelled")


def test_a_dialog_of_an_ended_session_leads_to_the_login(
    store: Store, address: str, page: Any, context: Any, tmp_path: Path
) -> None:
    key = add_user(store, "ann", {"home": "admin"})
    fill(store, tmp_path / "runs")

    def login() -> None:
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Log in").click()

    page.goto(f"{address}/sweeps/digits")
    login()
    page.locator("#do-cancel").wait_for()
    context.clear_cookies()
    page.locator("#do-cancel").click()
    page.wait_for_url("**/login?next=*")
    login()
    seen(page, "Cancel sweep digits?")


def test_a_plot_is_drawn_in_its_sandbox(store: Store, address: str, page: Any, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="no extra plot: launcher[plot] is not installed")
    fill(store, tmp_path / "runs")
    page.goto(f"{address}/sweeps/digits")
    page.locator("iframe.plot").scroll_into_view_if_needed()
    page.frame_locator("iframe.plot").locator("canvas, svg").first.wait_for()


def test_a_plot_is_dark_in_the_dark(store: Store, address: str, page: Any, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="no extra plot: launcher[plot] is not installed")
    fill(store, tmp_path / "runs")
    page.emulate_media(color_scheme="dark")
    page.goto(f"{address}/sweeps/digits?plot=line")
    page.locator("iframe.plot").scroll_into_view_if_needed()
    frame = page.frame_locator("iframe.plot")
    ground = "svg => svg.style.backgroundColor"
    for scheme, color in (("dark", "rgb(24, 28, 32)"), ("light", "white")):
        page.emulate_media(color_scheme=scheme)
        until(lambda color=color: frame.locator("svg.marks").evaluate(ground) == color, f"a {scheme} plot")


@pytest.mark.parametrize("width", [1440, 390])
def test_a_wide_grid_scrolls_and_not_the_page(store: Store, address: str, page: Any, width: int) -> None:
    points = [
        (f"lr={lr}", f"layers={layers}", f"seed={seed}") for lr in range(40) for layers in (1, 2) for seed in (0, 1)
    ]
    store.push(Sweep("wide"), [LaunchSpec({"overrides": {"args": list(point)}}, point=point) for point in points])
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/sweeps/wide")
    assert page.locator("#grid .scroll").evaluate("box => box.scrollWidth > box.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious(
    store: Store, address: str, page: Any, tmp_path: Path, scheme: str, width: int
) -> None:
    ids = fill(store, tmp_path / "runs")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    items = [f"/items/{ids[0]}", f"/items/{ids[1]}", f"/logs/{ids[0]}"]
    others = ["/do/priority/sweeps/digits", "/login", "/sweeps/nothing"]
    paths = ["/", "/sweeps/digits", "/sweeps/digits?color=state", *items, *others]
    for path in paths:
        page.goto(address + path)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {iframes: false})")
        serious = [
            (each["id"], each["nodes"][0]["html"][:200], each["nodes"][0]["failureSummary"][:300])
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than the screen"
