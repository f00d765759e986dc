"""The HTTP application: W&B's GraphQL address, file streams, uploads and downloads. Each part is a group of routes,
made for one desk; other pages of the same server are further groups."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from launcher.errors import AccessError, LaunchError, NotFoundError, UsageError
from launcher.provenance import login
from launcher.queues import Store
from launcher.server import streams
from launcher.server.access import NAME, Accounts, User, is_this_machine, of_another_site
from launcher.server.agents import Caretaker
from launcher.server.desk import Ask, Desk
from launcher.server.execution import Engine, refusal, status_of
from launcher.server.graph import resolvers
from launcher.server.pushing import Pusher
from launcher.server.storage import Storage, hexadecimal

LARGEST_REQUEST = 4 << 20
LARGEST_STREAM = 8 << 20
"""Bytes of one post to a file stream."""

AT_ONCE = 16
"""Threads that answer at a time. With fewer, less is added in one transaction; with more, they fight for the
interpreter."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What groups of routes are made of."""

    desk: Desk
    engine: Engine


RouteGroup = Callable[[Parts], Sequence[BaseRoute]]
Endpoint = Callable[[Request], Awaitable[Response]]


def wandb_routes(parts: Parts) -> Sequence[BaseRoute]:
    """What W&B's client, CLI and agent ask for."""
    desk, engine = parts.desk, parts.engine
    turns = CapacityLimiter(AT_ONCE)

    async def graphql(request: Request) -> Response:
        ask = await _ask(desk, request)
        asked = _json(await _body(request, LARGEST_REQUEST))
        answer = await to_thread.run_sync(engine.answer, asked, ask, limiter=turns)
        return _reply(answer.body, answer.status)

    async def stream(request: Request) -> Response:
        ask = await _ask(desk, request)
        printed = await _body(request, LARGEST_STREAM)
        body = _json(
            printed.replace(rb"\u0000", rb"\ufffd")
        )  # programs print it, and no client would tell it otherwise
        entity, project, run = (request.path_params[name] for name in ("entity", "project", "run"))
        return _reply(await run_in_threadpool(streams.receive, ask, entity, project, run, body))

    async def artifact_file(request: Request) -> Response:
        ask = await _ask(desk, request)
        entity, rest = request.path_params["entity"], request.path_params["rest"].split("/")
        ask.entity(entity)
        for part in rest:
            if len(part) == 32 and all(letter in "0123456789abcdef" for letter in part):
                return _file(desk.storage.path(desk.storage.blob(entity, hexadecimal(part))))
        raise NotFoundError("no such artifact file; expected the MD5 of its content in the address")

    return [
        Route("/graphql", _told(graphql), methods=["POST"]),
        Route("/files/{entity}/{project}/{run}/file_stream", _told(stream), methods=["POST"]),
        Route("/artifactsV2/{region}/{entity}/{rest:path}", _told(artifact_file), methods=["GET"]),
        Route("/artifacts/{entity}/{rest:path}", _told(artifact_file), methods=["GET"]),
    ]


def storage_routes(parts: Parts) -> Sequence[BaseRoute]:
    """Uploads to, and downloads from, addresses that the server gave."""
    storage = parts.desk.storage

    async def exchange(request: Request) -> Response:
        relative = request.path_params["path"]
        verb = "GET" if request.method == "HEAD" else request.method
        storage.check(request.path_params["ticket"], relative, verb)
        if verb == "GET":
            return _file(storage.path(relative))
        await storage.receive(relative, request.stream())
        return Response(status_code=200)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return [
        Route("/storage/{ticket}/{path:path}", _told(exchange), methods=["GET", "HEAD", "PUT"]),
        Route("/healthz", health, methods=["GET"]),
    ]


def create_app(
    store: Store,
    folder: Path,
    *,
    entity: str | None = None,
    groups: Sequence[RouteGroup] = (wandb_routes, storage_routes),
) -> Starlette:
    """The application over a store, with its files below `folder`. `entity`: whose the queues are that name none
    (default: the user who runs this). While the application runs, it looks after the leases of W&B's agents."""
    home = entity or local_entity()
    desk = Desk(store, Accounts.of(store, User(home, {home: "admin"})), Storage.of(store, folder), home)
    pusher = Pusher(store, desk.writing)
    parts = Parts(desk, Engine(resolvers(pusher)))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        caretaker = Caretaker(desk)
        yield
        caretaker.close()
        pusher.close()

    routes: list[BaseRoute] = [route for group in groups for route in group(parts)]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: _unknown, 405: _unknown})


def local_entity() -> str:
    """The entity of whoever runs the server."""
    name = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in login()).strip("-")[:64]
    return name if NAME.fullmatch(name) else "launcher"


def _told(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with errors as W&B's client reads them."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TooLargeError as error:
            return _reply(refusal(413, str(error)).body, 413)
        except UnauthorizedError as error:
            return _reply(refusal(401, str(error)).body, 401, {"WWW-Authenticate": 'Basic realm="launcher"'})
        except LaunchError as error:
            status = status_of(error)
            return _reply(refusal(status, str(error)).body, status)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.url.path)
            told = f"internal error: {type(error).__name__}; the server's log has more"
            return _reply(refusal(500, told).body, 500)

    return answered


class TooLargeError(UsageError):
    """A body is larger than what is taken."""


class UnauthorizedError(AccessError):
    """A request names no user."""


async def _ask(desk: Desk, request: Request) -> Ask:
    if of_another_site(request.headers):  # without users, any key that its page makes up would do
        raise AccessError("this request comes from another site's page; W&B's clients and launcher send none such")
    if desk.accounts.stale:
        await run_in_threadpool(desk.accounts.read)
    try:
        user = desk.accounts.user(key_of(request.headers.get("authorization")))
    except AccessError as error:
        raise UnauthorizedError(str(error)) from error
    host = request.headers.get("host", "")  # Starlette's own reading of it takes what it cannot read for this machine
    if user is desk.accounts.everybody and not is_this_machine(host):
        raise UnauthorizedError(f"{host!r} is not this machine, and no user has an API key")
    return Ask(desk, user, str(request.base_url).rstrip("/"))


def key_of(header: str | None) -> str | None:
    """The API key of an Authorization header: the password of basic authentication, or a bearer's token."""
    scheme, _, given = (header or "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return None


async def _body(request: Request, largest: int) -> bytes:
    too_large = f"the request is larger than {largest:,} bytes"
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > largest:
        raise TooLargeError(too_large)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise TooLargeError(too_large)
    return bytes(body)


def _json(body: bytes) -> Any:
    if rb"\u0000" in body:
        raise UsageError("the request holds a NUL character, which no name and no command line can carry")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the request is no JSON: {error}") from error


def _reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def _file(path: Path) -> Response:
    if not path.is_file():
        raise NotFoundError("no such file was uploaded")
    return FileResponse(path, media_type="application/octet-stream", headers={"X-Content-Type-Options": "nosniff"})


async def _unknown(request: Request, _: Exception) -> Response:
    told = f"{request.method} {unquote(request.url.path)[:200]} is nothing that this server answers"
    return _reply(refusal(404, told).body, 404)
