"""The pages: each is read as plain values, and rendered part by part; its stream sends the same parts when they change.
`web_routes` is the group of routes that a server takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from launcher.errors import LaunchError, NotFoundError
from launcher.plots.theme import DARK
from launcher.server.app import Parts as ServerParts
from launcher.spec import PRIORITY_NAMES
from launcher.web import actions, item, live, overview, plots, rendering, sweep
from launcher.web.log_routes import log_routes, tail
from launcher.web.routes import Ask, Site, answered, form, login_routes, site_of
from launcher.web.view import View

LINKS = {"item": partial(rendering.link, "items"), "sweep": partial(rendering.link, "sweeps")}
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
TYPES = {".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Page:
    """A kind of page: how it is read, the template of the whole, and the parts of it that live."""

    read: Callable[[View, str, Mapping[str, str]], Mapping[str, Any]]
    template: str
    parts: Sequence[str]
    rest: Callable[[View, Mapping[str, Any]], Mapping[str, Any]] | None = None
    """Reads what does not live."""

    tail: Callable[[Site, Ask, Callable[[], bool]], AsyncIterator[bytes]] | None = None
    """More events of its stream."""

    def rendered(self, view: View, name: str, parameters: Mapping[str, str]) -> tuple[Mapping[str, Any], live.Parts]:
        """What it shows, and the HTML of its parts; the part `over` says something once they will not change."""
        context = {"parameters": parameters, "name": name, **self.read(view, name, parameters)}
        parts = {part: rendering.render(f"parts/{part}.html", context) for part in self.parts}
        return context, {**parts, "over": "over" if context.get("over") else ""}


PAGES = {
    "overview": Page(lambda view, _, parameters: overview.overview(view, parameters), "overview.html", overview.PARTS),
    "sweeps": Page(sweep.sweep, "sweep.html", sweep.PARTS),
    "items": Page(lambda view, name, _: item.item_parts(view, name), "item.html", item.PARTS, item.item_rest, tail),
}


def web_routes(parts: ServerParts, ending: Callable[[], bool] = lambda: False) -> Sequence[BaseRoute]:
    """The page, for `create_app`. `ending` says whether the server shall end: then streams end, too."""
    site = site_of(parts)
    hub = live.Hub(ending)
    return [
        *login_routes(site),
        *log_routes(site),
        *_page_routes(site, hub),
        *_action_routes(site),
        Route("/plots/{name:path}", site.guarded(_plot), methods=["GET"]),
        Route("/assets/{name:path}", answered(_asset), methods=["GET"]),
    ]


def _page_routes(site: Site, hub: live.Hub) -> list[BaseRoute]:
    async def show(kind: str, ask: Ask) -> Response:
        page = PAGES[kind]

        def made() -> Response:
            parameters = _kept(ask.parameters)
            context, parts = page.rendered(ask.view, ask.name, parameters)
            stream = {"address": _stream_address(kind, ask.name, parameters), "seen": live.digest(parts)}
            rest = page.rest(ask.view, context) if page.rest else {}
            html = {part: Markup(text) for part, text in parts.items()}  # noqa: S704 - rendered by our templates
            return site.page(page.template, ask, {**context, **rest, "parts": html, "stream": stream})

        return await run_in_threadpool(made)

    async def stream(kind: str, ask: Ask) -> Response:
        page, user = PAGES[kind], ask.view.user
        parameters = {name: text for name, text in _kept(ask.parameters).items() if name not in ("seen", "after")}

        def render() -> live.Parts:
            view = View(site.sessions.desk, site.reader, user)
            return page.rendered(view, ask.name, parameters)[1]

        def allowed() -> bool:
            return site.sessions.still(ask.request, user)

        await run_in_threadpool(render)  # a page that there is not is told now
        key = (kind, ask.name, tuple(sorted(parameters.items())), tuple(sorted(user.roles.items())))
        events = hub.stream(key, render, allowed, ask.parameters.get("seen", ""))
        if page.tail:
            events = live.joined(events, page.tail(site, ask, hub.ending))
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    routes: list[BaseRoute] = []
    for kind in PAGES:
        address = "/" if kind == "overview" else f"/{kind}/{{name:path}}"
        below = "/live/overview" if kind == "overview" else f"/live/{kind}/{{name:path}}"
        routes.append(Route(address, site.guarded(partial(show, kind)), methods=["GET"]))
        routes.append(Route(below, site.guarded(partial(stream, kind)), methods=["GET"]))
    return routes


def _kept(parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in parameters.items() if name not in ("done", "count", "queue") and text}


def _stream_address(kind: str, name: str, parameters: Mapping[str, str]) -> str:
    path = "/live/overview" if kind == "overview" else rendering.link(f"live/{kind}", name)
    return path + rendering.query(parameters)


# -- actions ----------------------------------------------------------------------------------------------------------


def _action_routes(site: Site) -> list[BaseRoute]:
    async def act(ask: Ask) -> Response:
        verb, kind = (ask.request.path_params[part] for part in ("verb", "kind"))
        store = site.sessions.desk.store
        if ask.request.method == "GET":
            task = await run_in_threadpool(actions.task, ask.view, verb, kind, ask.name, LINKS)
            template = "parts/confirm.html" if "hx-request" in ask.request.headers else "confirm.html"
            shown = {"task": task, "priorities": PRIORITY_NAMES, "address": ask.request.url.path}
            return site.page(template, ask, shown)
        fields = await form(ask.request)
        site.sessions.check(ask.request, ask.viewer, fields.get("token", ""))

        def done() -> Response:
            task = actions.task(ask.view, verb, kind, ask.name, LINKS)
            with site.sessions.desk.writing:
                count = task.do(store, fields)
            site.reader.forget()
            told = rendering.query({}, done=verb, count=count, queue="1" if kind == "queues" else None)
            return RedirectResponse(task.page + told, 303)

        return await run_in_threadpool(done)

    return [Route("/do/{verb}/{kind}/{name:path}", site.guarded(act), methods=["GET", "POST"])]


# -- plots and files --------------------------------------------------------------------------------------------------


async def _plot(ask: Ask) -> Response:
    def drawn() -> Response:
        try:
            plots.library()
            spec = plots.specification(ask.view, ask.name, ask.parameters)
        except LaunchError as error:
            told = {"text": str(error), "spec": None}
        else:
            title = " ".join(str(spec["title"][part]) for part in ("text", "subtitle"))
            held = {"spec": plots.embedded(spec), "dark": plots.embedded(DARK)}
            told = {"text": title, **{name: Markup(text) for name, text in held.items()}}  # noqa: S704 - escaped there
        html = rendering.render("plot.html", told)
        return HTMLResponse(html, headers={"Content-Security-Policy": plots.POLICY})

    return await run_in_threadpool(drawn)


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    shared = {**FOR_EVER, "Cross-Origin-Resource-Policy": "cross-origin"}  # a sandboxed plot has no origin
    if name == "vega.js":
        library = await run_in_threadpool(plots.library)
        return Response(library, media_type=TYPES[".js"], headers=shared)
    path = next((each for each in rendering.files() if each.relative_to(rendering.STATIC).as_posix() == name), None)
    if path is None:
        raise NotFoundError(f"no file {name!r}")
    return FileResponse(path, media_type=TYPES.get(path.suffix, "text/plain"), headers=shared)
