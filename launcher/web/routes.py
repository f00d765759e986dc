"""The page's addresses: who may see what is checked here, errors become pages, and every answer carries the headers
that keep scripts of others out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from launcher.errors import AccessError, LaunchError, NotFoundError, StoreError, UsageError
from launcher.server.app import Parts as ServerParts
from launcher.web import actions, rendering
from launcher.web.reader import Reader
from launcher.web.sessions import COOKIE, SESSION_SECONDS, LoginNeededError, Sessions, Viewer
from launcher.web.view import View

LARGEST_FORM = 1 << 16
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of somebody who may look: its parameters, and the store as they see it."""

    request: Request
    viewer: Viewer
    view: View

    @property
    def parameters(self) -> Mapping[str, str]:
        """Those of the address' query, which a page's links carry on."""
        return {name: value[:2000] for name, value in self.request.query_params.items()}

    @property
    def name(self) -> str:
        """What the address is about. NotFoundError for what no name can be, to PostgreSQL not even in a question."""
        name = str(self.request.path_params.get("name", ""))
        if "\0" in name:
            raise NotFoundError(f"nothing is named {name!r}")
        return name


Endpoint = Callable[[Ask], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Site:
    """What the endpoints share."""

    sessions: Sessions
    reader: Reader

    def ask(self, request: Request) -> Ask:
        """The request, with who asks."""
        viewer = self.sessions.viewer(request)
        return Ask(request, viewer, View(self.sessions.desk, self.reader, viewer.user))

    def page(self, template: str, ask: Ask, context: Mapping[str, Any], status: int = 200) -> Response:
        """A page for somebody who may look."""
        parameters = {name: value for name, value in ask.parameters.items() if name not in ("done", "count")}
        told = actions.told(ask.parameters)
        shared = {"viewer": ask.viewer, "parameters": parameters, "flash": told, "path": ask.request.url.path}
        return HTMLResponse(rendering.render(template, {**shared, **context}), status)

    def guarded(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint for those who may look, with its errors as pages."""

        async def asked(request: Request) -> Response:
            return await endpoint(await run_in_threadpool(self.ask, request))

        return answered(asked)


def answered(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, with errors as pages, and with the headers that every page has."""

    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except LoginNeededError:
            response = _to_login(request)
        except ClientDisconnect:
            response = Response(status_code=400)
        except LaunchError as error:
            response = _trouble(_status(error), str(error), again=isinstance(error, StoreError))
        except Exception as error:
            log.exception("%s %s failed", request.method, request.url.path)
            response = _trouble(500, f"internal error: {type(error).__name__}; the server's log has more")
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return answer


def _status(error: LaunchError) -> int:
    kinds = ((AccessError, 403), (NotFoundError, 404), (UsageError, 400), (StoreError, 503))
    return next((status for kind, status in kinds if isinstance(error, kind)), 500)


def _trouble(status: int, text: str, *, again: bool = False) -> Response:
    return HTMLResponse(rendering.render("trouble.html", {"status": status, "text": text, "again": again}), status)


def _to_login(request: Request) -> Response:
    """The login page, which leads back; where a link on another site led here, the page itself once more: only then
    does the browser show its cookie, which it keeps from other sites."""
    if request.url.path.startswith("/live/") or "hx-request" in request.headers:
        return Response("log in with an API key", 401)
    if request.headers.get("sec-fetch-site") == "cross-site":
        return HTMLResponse(rendering.render("again.html", {}))
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted form; UsageError for what is none."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise UsageError(f"the form is larger than {LARGEST_FORM:,} bytes")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
    except ValueError as error:
        raise UsageError("the request is no form of this page") from error


def login_routes(site: Site) -> Sequence[BaseRoute]:
    """Logging in with an API key, and out."""
    sessions = site.sessions

    def login_page(request: Request, problem: str = "", status: int = 200) -> Response:
        target = _own(request.query_params.get("next", "/"))
        return HTMLResponse(rendering.render("login.html", {"problem": problem, "next": target}), status)

    async def login(request: Request) -> Response:
        if request.method != "POST":
            return login_page(request)
        sessions.check(request, None, "")
        fields = await form(request)
        try:
            cookie = await run_in_threadpool(sessions.open, fields.get("key", "").strip())
        except AccessError as error:
            return login_page(request, str(error), 403)
        response = RedirectResponse(_own(fields.get("next", "/")), 303)
        secure = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=secure, path="/"
        )
        return response

    async def logout(ask: Ask) -> Response:
        sessions.check(ask.request, ask.viewer, (await form(ask.request)).get("token", ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    return [
        Route("/login", answered(login), methods=["GET", "POST"]),
        Route("/logout", site.guarded(logout), methods=["POST"]),
    ]


def _own(target: str) -> str:
    """An address of this site: whatever else is asked for is the overview."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain and "\\" not in target else "/"


def site_of(parts: ServerParts) -> Site:
    """The page over a running server's desk."""
    return Site(Sessions(parts.desk), Reader(parts.desk.store))
