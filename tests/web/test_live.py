"""Server-sent events of a running server: what changed is sent, a log is followed, and neither ends with the store."""

from __future__ import annotations

import asyncio
import html
import itertools
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from launcher.item import ItemFilter, Sweep
from launcher.outcome import Finished
from launcher.paths import RunPaths
from launcher.queues import Store, open_store
from launcher.server.access import add_user, revoke
from launcher.web import live
from tests.conftest import until
from tests.server.conftest import running
from tests.services import Postgres, free_port
from tests.web.conftest import spec

PATIENCE_SECONDS = 60


class Events:
    """The events of a stream, as they come."""

    def __init__(self, address: str, session: requests.Session | None = None) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self._response = (session or requests.Session()).get(address, stream=True, timeout=PATIENCE_SECONDS)
        self.status = self._response.status_code
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, list[str]] = {}
        try:
            for line in self._response.iter_lines(chunk_size=1, decode_unicode=True):
                if line:
                    name, _, value = line.partition(": ")
                    fields.setdefault(name, []).append(value)
                elif "event" in fields:
                    data = "\n".join(fields.get("data", []))
                    self.seen.append((fields["event"][0], data, fields.get("id", [""])[0]))
                    fields = {}
        except (requests.RequestException, AttributeError, ValueError):
            pass
        self.ended.set()

    def has(self, name: str, text: str) -> bool:
        return any(event == name and text in data for event, data, _ in self.seen)

    def close(self) -> None:
        self._response.close()


@pytest.fixture
def address(store: Store, tmp_path: Path) -> Iterator[str]:
    yield from serving(store, tmp_path)


def serving(store: Store, folder: Path, port: int | None = None) -> Iterator[str]:
    """The address of the page over a store, while it runs."""
    uvicorn = pytest.importorskip("uvicorn", reason="no extra server: launcher[server] is not installed")
    pytest.importorskip("graphql", reason="no extra server: launcher[server] is not installed")
    from functools import partial

    from launcher.server.app import create_app
    from launcher.web.pages import web_routes

    server: Any = None
    groups = (partial(web_routes, ending=lambda: bool(server.should_exit)),)
    app = create_app(store, folder / "server", entity="home", groups=groups)
    port = port or free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    yield from running(server)


def test_what_changed_is_sent_to_all_who_look(store: Store, address: str) -> None:
    store.push(Sweep("digits"), [spec(0), spec(1)])
    viewers = [Events(f"{address}/live/sweeps/digits") for _ in range(3)]
    for each in viewers:
        until(lambda each=each: each.has("head", "2 pending"), "the state")
    [lease, _] = store.pop("agent", ["default"], 2)
    store.ack([(lease, {}, "/nowhere")])
    store.finish([(lease, Finished({"accuracy": 0.5}))])
    for each in viewers:
        until(lambda each=each: each.has("head", "1 finished") and each.has("table", "0.5"), "the change")
        each.close()


def test_what_a_page_has_is_not_sent_again(store: Store, address: str) -> None:
    store.push(Sweep("digits"), [spec(0)])
    page = requests.get(f"{address}/sweeps/digits", timeout=PATIENCE_SECONDS).text
    [(stream, seen)] = re.findall(r'data-stream="([^"]+)" data-seen="([^"]+)"', page)
    fresh = Events(f"{address}{html.unescape(stream)}seen={seen}")
    store.push(Sweep("digits"), [spec(1)])
    until(lambda: fresh.has("head", "2 pending"), "the change")
    assert not fresh.has("head", "1 pending")
    until(lambda: fresh.seen[-1][0] == "seen", "what is seen now")
    again = Events(f"{address}{html.unescape(stream)}seen={fresh.seen[-1][1]}")
    store.push(Sweep("digits"), [spec(6)])
    until(lambda: again.has("head", "3 pending"), "the change")
    assert not again.has("head", "2 pending")
    fresh.close()
    again.close()


def test_the_stream_of_a_sweep_ends_with_it(store: Store, address: str) -> None:
    store.push(Sweep("digits"), [spec(0)])
    events = Events(f"{address}/live/sweeps/digits")
    until(lambda: events.has("head", "1 pending"), "the state")
    [lease] = store.pop("agent", ["default"], 1)
    store.ack([(lease, {}, "/nowhere")])
    store.finish([(lease, Finished({"accuracy": 0.5}))])
    until(events.ended.is_set, "the end")
    assert events.has("head", "1 finished")
    assert events.has("table", "0.5")
    assert events.seen[-1][0] == "end"
    assert " data-over" in requests.get(f"{address}/sweeps/digits", timeout=PATIENCE_SECONDS).text


def test_a_log_is_followed_to_the_end_of_its_run(store: Store, address: str, tmp_path: Path) -> None:
    store.push(Sweep("digits"), [spec(0)])
    [lease] = store.pop("agent", ["default"], 1)
    paths = RunPaths.of(tmp_path / "runs", lease.item.id, 1)
    paths.create({})
    paths.log.write_text("one <b>\n")
    store.ack([(lease, {}, str(paths.folder))])
    events = Events(f"{address}/live/items/{lease.item.id}")
    until(lambda: events.has("anew", "one &lt;b&gt;"), "the first line")
    with paths.log.open("a") as log:
        log.write("\x1b[31mtwo\x1b[0m\n")
    until(lambda: events.has("more", "two"), "the second line")
    place = next(place for event, _, place in reversed(events.seen) if event == "more")
    events.close()
    again = Events(f"{address}/live/items/{lease.item.id}?after={place}")
    with paths.log.open("a") as log:
        log.write("three\n")
    until(lambda: again.has("more", "three"), "the third line")
    store.finish([(lease, Finished())])
    until(again.ended.is_set, "the end")
    assert again.seen[-1][0] == "end"
    assert again.has("itemhead", "finished")
    assert [json.loads(data)["html"] for event, data, _ in again.seen if event in ("more", "anew")] == ["three\n"]


def test_what_cannot_be_rendered_is_logged_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "LEAST_SECONDS", 0.0)
    states = itertools.chain(["one", "", "", "", "two", ""], itertools.repeat("three"))

    def render() -> dict[str, str]:
        told = next(states)
        return {"head": told, "length": str(7 // len(told))}

    async def told_until(last: bytes) -> bytes:
        told = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for each in live.Hub(lambda: False).stream("page", render, lambda: True, ""):
                told += each
                if last in each:
                    return told
        raise AssertionError(told)

    told = asyncio.run(told_until(b"three"))
    places = [told.index(text) for text in (b"data: one", b"ZeroDivisionError", b"data: two", b"data: three")]
    assert places == sorted(places)
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [ZeroDivisionError] * 2


def test_whether_a_viewer_may_look_is_asked_before_more_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(live, "ALLOWED_SECONDS", 0.0)
    numbers, answers = itertools.count(), iter([True, True, False])

    async def told() -> list[bytes]:
        hub = live.Hub(lambda: False)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [
                each
                async for each in hub.stream("page", lambda: {"head": str(next(numbers))}, lambda: next(answers), "")
            ]

    heads = [each for each in asyncio.run(told()) if each.startswith(b"event: head")]
    assert len(heads) <= 2
    assert list(answers) == []


def test_a_page_that_changes_all_the_time_is_not_sent_to_who_was_revoked(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "ALLOWED_SECONDS", 0.1)
    monkeypatch.setattr(live, "SHARE", 0)
    add_user(store, "ann", {"home": "admin"})
    key = add_user(store, "eve", {"home": "viewer"})
    store.push(Sweep("digits"), [spec(0)])
    served = serving(store, tmp_path)
    address, session = next(served), requests.Session()
    assert session.post(f"{address}/login", {"key": key}, timeout=PATIENCE_SECONDS, allow_redirects=False).ok
    events = Events(f"{address}/live/sweeps/digits", session)
    until(lambda: events.has("head", "1 pending"), "the state")
    revoke(store, "eve")

    def ended_though_busy() -> bool:
        number = len(list(store.items(ItemFilter())))
        if events.has("head", f"{number} pending"):
            store.push(Sweep("digits"), [spec(6 * number)])
        return events.ended.is_set()

    until(ended_though_busy, "the stream's end")
    assert events.seen[-1][0] != "end"
    for _ in served:
        pass


def test_open_streams_do_not_keep_the_server(store: Store, tmp_path: Path) -> None:
    serve = serving(store, tmp_path)
    events = Events(f"{next(serve)}/live/overview")
    until(lambda: events.seen, "the first events")
    for _ in serve:
        pass
    until(events.ended.is_set, "the stream's end")


def test_streams_survive_a_restart_of_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    store = open_store(postgres.database())
    store.push(Sweep("digits"), [spec(0)])
    serve = serving(store, tmp_path)
    events = Events(f"{next(serve)}/live/sweeps/digits")
    until(lambda: events.has("head", "1 pending"), "the state")
    postgres.stop()
    until(lambda: events.has("trouble", "trying again"), "the notice")
    postgres.start()
    until(lambda: [data for event, data, _ in events.seen if event == "trouble"][-1] == "", "its end")
    store.push(Sweep("digits"), [spec(1)])
    until(lambda: events.has("head", "2 pending"), "the change")
    assert not events.ended.is_set()
    events.close()
    for _ in serve:
        pass
    store.close()


def test_a_name_that_postgresql_cannot_hold_is_not_there(postgres: Postgres, tmp_path: Path) -> None:
    store = open_store(postgres.database())
    for address in serving(store, tmp_path):
        for path in ("/items/%00", "/logs/a%00", "/live/items/%00", "/do/cancel/items/%00", "/sweeps/%00", "/"):
            status = requests.get(address + path, timeout=PATIENCE_SECONDS).status_code
            assert status == (200 if path == "/" else 404), path
    store.close()
