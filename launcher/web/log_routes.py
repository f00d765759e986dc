"""The addresses of logs: a page of one by byte offsets, its download; and its live tail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response
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


def log_routes(site: Site) -> Sequence[BaseRoute]:
    """Pages and downloads of logs."""

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

    return [
        Route("/logs/{name:path}", site.guarded(page), methods=["GET"]),
        Route("/download/{name:path}", site.guarded(download), methods=["GET"]),
    ]


def _asked(ask: Ask) -> tuple[Item, int, str, Mapping[int, str]]:
    """The item, the attempt that was asked for (its last one by default), its folder, and all attempts' folders."""
    store = ask.view.desk.store
    item = ask.view.item(ask.name)
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


async def tail(site: Site, ask: Ask, ending: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The live tail of an item's log, from the parameter `after` (ATTEMPT:OFFSET) on: events `more` (append it) and
    `anew` (instead of all), whose IDs are places; END at each look that finds the run ended and all sent."""
    user = ask.view.user
    follower = _Follower(
        lambda: View(site.sessions.desk, site.reader, user).item(ask.name, kept=True),
        ask.parameters.get("after", ""),
    )
    while not ending():
        for each in await run_in_threadpool(follower.look):
            yield each
        await asyncio.sleep(LOOK_SECONDS)


class _Follower:
    """What an item's log has more than it had. It goes over to the log of the next attempt when that begins."""

    def __init__(self, item: Callable[[], Item], after: str) -> None:
        attempt, _, offset = after.partition(":")
        self._item = item
        self._attempt, self._offset = number(attempt, 0), number(offset, 0)
        self._painter = Painter()

    def look(self) -> list[bytes]:
        """The events since the last look."""
        try:
            item = self._item()  # before the log: what was printed until the end is then sent
            sent = self._grown(item)
        except LaunchError:  # the store is away, or the log not there yet
            return []
        return [live.END] if item.state in TERMINAL and not sent else sent

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
