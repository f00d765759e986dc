"""Server-sent events: the parts of a page, rendered once for all who look at it, and sent when they changed. Nothing
here ends because the store is away: viewers are told, and see the new state when it is back."""

from __future__ import annotations

import asyncio
import hashlib
import html
import logging
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from launcher.errors import LaunchError

SHARE = 200
"""A page rests so many times as long as rendering it took: an open one costs about half a percent of a core."""

LEAST_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
ALLOWED_SECONDS = 5.0
"""How soon a stream ends whose viewer was revoked, or has other roles, however much there is to be sent."""

LOOK_SECONDS = 1.0
"""How soon a stream hears that the server ends."""

log = logging.getLogger(__name__)

Parts = Mapping[str, str]
"""HTML by the names of a page's parts."""


def digest(parts: Parts) -> str:
    """What tells a page's state from others, whatever trouble there is: short, for an address."""
    told = "\0".join(f"{name}\0{text}" for name, text in parts.items() if name != "trouble")
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def event(name: str, data: str, event_id: str = "") -> bytes:
    r"""An event as it is sent.

    >>> event("head", "<p>\nhi", "7")
    b'id: 7\nevent: head\ndata: <p>\ndata: hi\n\n'
    """
    lines = "".join(f"data: {line}\n" for line in data.replace("\r", "").split("\n"))
    return (f"id: {event_id}\n" if event_id else "").encode() + f"event: {name}\n{lines}\n".encode()


END = event("end", "")
"""The last event of a stream whose page will not change any more."""


@dataclass(slots=True)
class Topic:
    """One page that is open: its parts as they were rendered last."""

    render: Callable[[], Parts]
    parts: Parts = field(default_factory=dict)
    viewers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def keep(self) -> None:
        """Render again and again, as long as somebody looks."""
        while True:
            parts, cost = await run_in_threadpool(self._rendered)
            if parts != self.parts:
                self.parts = parts
                self.changed.set()
                self.changed = asyncio.Event()
            await asyncio.sleep(max(LEAST_SECONDS, SHARE * cost))

    def _rendered(self) -> tuple[Parts, float]:
        began = time.thread_time()
        try:
            parts = {**self.render(), "trouble": ""}
        except LaunchError as error:
            parts = {**self.parts, "trouble": _trouble(str(error))}
        except Exception as error:  # of ours, or of what a run reported: the next state may be well again
            told = _trouble(f"internal error: {type(error).__name__}; the server's log has more")
            if self.parts.get("trouble") != told:
                log.exception("a page cannot be rendered; trying again")
            parts = {**self.parts, "trouble": told}
        return parts, time.thread_time() - began


def _trouble(text: str) -> str:
    return f'<p class="trouble">{html.escape(text)} – trying again</p>'


@dataclass(frozen=True, slots=True)
class Hub:
    """The topics of a server. `ending`: whether it shall end, which open streams must not keep it from."""

    ending: Callable[[], bool]
    topics: dict[Hashable, Topic] = field(default_factory=dict)

    async def stream(
        self, key: Hashable, render: Callable[[], Parts], allowed: Callable[[], bool], seen: str
    ) -> AsyncIterator[bytes]:
        """The events of a page, for one viewer: all of its parts if they are not as they were `seen`, then those that
        change, each time followed by what is seen then; until the part `over` says something (then END is the last
        one), the server ends, or the viewer is not allowed to look any more."""
        topic = self.topics.get(key)
        if topic is None:
            topic = self.topics[key] = Topic(render)
        topic.viewers += 1
        if topic.task is None:
            topic.task = asyncio.create_task(topic.keep())
        try:
            yield b"retry: 1000\n\n"
            async for parts in self._states(topic, allowed):
                if parts is None:
                    yield b": still here\n\n"
                    continue
                sent, now = parts
                known = not sent and digest(now) == seen
                changed = {} if known else {name: text for name, text in now.items() if sent.get(name) != text}
                for name, text in changed.items():
                    yield event(name, text)
                if changed:
                    yield event("seen", "" if now["trouble"] else digest(now))
                if now.get("over"):
                    yield END
                    return
        finally:
            topic.viewers -= 1
            if not topic.viewers:
                assert topic.task
                topic.task.cancel()
                self.topics.pop(key, None)

    async def _states(self, topic: Topic, allowed: Callable[[], bool]) -> AsyncIterator[tuple[Parts, Parts] | None]:
        """The parts that a viewer has and those that are new; None now and then, while nothing changes."""
        sent: Parts = {}
        beat = asked = time.monotonic()
        while not self.ending():
            if time.monotonic() >= asked + ALLOWED_SECONDS:
                if not await run_in_threadpool(still, allowed):
                    return
                asked = time.monotonic()
            changed = topic.changed
            if topic.parts and topic.parts is not sent:
                yield sent, topic.parts
                sent, beat = topic.parts, time.monotonic()
            if time.monotonic() >= beat + HEARTBEAT_SECONDS:
                yield None
                beat = time.monotonic()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await changed.wait()
            except TimeoutError:
                continue


async def joined(page: AsyncIterator[bytes], tail: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The events of a page and of a log's tail, as they come. END is sent when the page has sent it, and then the tail:
    before, it may be that the run begins again. A page that ends without END ends both."""
    waiting = {asyncio.ensure_future(anext(stream)): stream for stream in (page, tail)}
    over = False
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                stream = waiting.pop(task)
                try:
                    told = task.result()
                except StopAsyncIteration:
                    if over:
                        continue
                    return
                waiting[asyncio.ensure_future(anext(stream))] = stream
                if told != END:
                    yield told
                elif stream is page:
                    over = True
                elif over:
                    yield END
                    return
    finally:
        for task in waiting:
            task.cancel()


def still(allowed: Callable[[], bool]) -> bool:
    """Whether a viewer may go on looking."""
    try:
        return allowed()
    except LaunchError:  # the store is away: nobody can say, so nothing changes
        return True
