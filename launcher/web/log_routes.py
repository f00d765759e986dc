"""The addresses of logs: a page of one by byte offsets, its live tail, its download."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from launcher.analysis import story
from launcher.errors import LaunchError, NotFoundError
from launcher.item import TERMINAL, Item
from launcher.paths import RunPaths
from launcher.web import live, logs
from launcher.web.ansi import Painter
from launcher.web.item import with_log
from launcher.web.overview import number
from launcher.web.routes import Ask, Site
from launcher.web.view import View

LOOK_SECONDS = 0.5
"""How often a live tail looks for more: a system call."""


def log_routes(site: Site, ending: Callable[[], bool]) -> Sequence[BaseRoute]:
    """Pages, tails and downloads of logs."""

    async def page(ask: Ask) -> Response:
        return await run_in_threadpool(lambda: site.page("log.html", ask, log_page(ask)))

    async def download(ask: Ask) -> Response:
        def found() -> Response:
            item, attempt, folder, _ = _asked(ask)
            with logs.opened(folder):
                pass
            name = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in item.id)
            return FileResponse(
                RunPaths(Path(folder)).log, media_type="text/plain; charset=utf-8", filename=f"{name}-{attempt}.log"
            )

        return await run_in_threadpool(found)

    async def tail(ask: Ask) -> Response:
        await run_in_threadpool(lambda: ask.view.check(ask.view.desk.store.item(ask.name)))
        after = ask.request.headers.get("last-event-id") or ask.parameters.get("after", "")
        user = ask.view.user
        follower = _Follower(
            lambda: View(site.sessions.desk, site.reader, user).check(site.reader.item(ask.name)), after,
            lambda: site.sessions.still(ask.request, user), ending,
        )  # fmt: skip
        return StreamingResponse(follower.events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return [
        Route("/logs/{name:path}", site.guarded(page), methods=["GET"]),
        Route("/download/{name:path}", site.guarded(download), methods=["GET"]),
        Route("/live/logs/{name:path}", site.guarded(tail), methods=["GET"]),
    ]


def _asked(ask: Ask) -> tuple[Item, int, str, Mapping[int, str]]:
    """The item, the attempt that was asked for (its last one by default), its folder, and all attempts' folders."""
    store = ask.view.desk.store
    item = ask.view.check(store.item(ask.name))
    folders = with_log(item, story.attempts(item, store.attempts(item.id), store.events(item.id)))
    if not folders:
        raise NotFoundError(f"run {item.id} has no log, it is {item.state.value}")
    attempt = number(ask.parameters.get("attempt"), 0) or max(folders)
    if attempt not in folders:
        raise NotFoundError(f"run {item.id} has no attempt {attempt}; expected one of {', '.join(map(str, folders))}")
    return item, attempt, folders[attempt], folders


def log_page(ask: Ask) -> dict[str, Any]:
    """What a page of a log shows. Parameters: `attempt`, `at` (a byte offset; the end by default)."""
    item, attempt, folder, folders = _asked(ask)
    asked = ask.parameters.get("at", "")
    with logs.opened(folder) as file:
        part = logs.page(file, number(asked, 0)) if asked.isascii() and asked.isdigit() else logs.tail(file)
    return {
        "item": item,
        "attempt": attempt,
        "attempts": sorted(folders),
        "part": part,
        "html": logs.painted(part.text),
    }


class _Follower:
    """The live tail of an item's log, for one viewer, from a place (ATTEMPT:OFFSET) on. It goes over to the log of the
    next attempt when that begins."""

    def __init__(
        self, item: Callable[[], Item], after: str, allowed: Callable[[], bool], ending: Callable[[], bool]
    ) -> None:
        attempt, _, offset = after.partition(":")
        self._item, self._allowed, self._ending = item, allowed, ending
        self._attempt, self._offset = number(attempt, 0), number(offset, 0)
        self._painter = Painter()
        self._over = False

    async def events(self) -> AsyncIterator[bytes]:
        """Events `more` (append it) and `anew` (instead of all), whose IDs are places; `end` when the run ended."""
        yield b"retry: 1000\n\n"
        beat = time.monotonic()
        while not self._ending():
            sent = await run_in_threadpool(self._look)
            for each in sent:
                yield each
            if self._over:
                return
            if sent:
                beat = time.monotonic()
            elif time.monotonic() > beat + live.HEARTBEAT_SECONDS:
                if not await run_in_threadpool(live.still, self._allowed):
                    return
                yield b": still here\n\n"
                beat = time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> list[bytes]:
        try:
            item = self._item()  # before the log: what was printed until the end is then sent
            sent = self._grown(item)
        except LaunchError:  # the store is away, or the log not there yet
            return []
        if item.state in TERMINAL and not sent:
            self._over = True
            return [live.event("end", item.state.value)]
        return sent

    def _grown(self, item: Item) -> list[bytes]:
        if not item.run_dir:
            return []
        anew = item.attempt != self._attempt
        try:
            with logs.opened(item.run_dir) as file:
                part = logs.tail(file) if anew else logs.grown(file, self._offset)
        except NotFoundError:
            return []
        if not anew and part.end == self._offset:
            return []
        name = "anew" if anew or part.start != self._offset else "more"
        if name == "anew":
            self._painter = Painter()
        self._attempt, self._offset = item.attempt, part.end
        told = orjson.dumps({"html": self._painter.html(part.text), "start": part.start, "size": part.size}).decode()
        return [live.event(name, told, f"{item.attempt}:{part.end}")]
