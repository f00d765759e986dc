"""`launcher serve`: W&B's protocol over a store, for W&B's client, CLI and agent."""

from __future__ import annotations

import ipaddress
import socket
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.targets import opened, store_option
from launcher.errors import LaunchError, UsageError
from launcher.settings import data_folder

if TYPE_CHECKING:
    import uvicorn

NEEDED = ("starlette", "uvicorn", "graphql", "jinja2")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free port.")
@click.option("--entity", metavar="NAME", help="Whose the queues are that name no entity (default: you).")
@click.option(
    "--files", "folder", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Where uploads and logs of runs go (default: server/ beside the store).",
)  # fmt: skip
@store_option
def serve(host: str, port: int, entity: str | None, folder: Path | None, store: str | None) -> None:
    """Serve the store: the web page, and its queues to W&B's client, CLI and agent.

    \b
    launcher user add ann --entity team            prints Ann's key
    launcher serve --host 0.0.0.0 --entity team    Ctrl-C ends it
    WANDB_BASE_URL=http://HOST:8080 WANDB_API_KEY=… wandb launch -q gpu -d IMAGE
    """
    missing = [name for name in NEEDED if not find_spec(name)]
    if missing:
        raise LaunchError(f"launcher serve needs {', '.join(missing)}; pip install 'launcher[server]'")
    from launcher.server.access import NAME, users
    from launcher.server.app import create_app, local_entity, storage_routes, wandb_routes
    from launcher.web.pages import web_routes

    if entity is not None and not NAME.fullmatch(entity):
        raise UsageError(f"--entity {entity!r} is none; expected letters, digits, '.', '_' and '-'")
    home = entity or local_entity()
    with opened(store) as target, _listening(host, port) as listener:
        known = users(target).values()
        if not known and not _local(listener):
            raise UsageError(
                f"--host {host} can be reached from other machines, and no user has a key: everybody could run "
                "commands on your agents' machines. Add one: launcher user add NAME; or serve 127.0.0.1"
            )
        if known and not any(home in user.roles for user in known):
            theirs = ", ".join(sorted({name for user in known for name in user.roles}))
            click.echo(
                f"note: queues that name no entity are {home}'s, where no user has a role, so nobody sees them here; "
                f"--entity says whose they are (users have roles in: {theirs})",
                err=True,
            )
        served = Served()
        groups = (wandb_routes, storage_routes, partial(web_routes, ending=served.ending))
        app = create_app(target, folder or data_folder(target.url) / "server", entity=home, groups=groups)
        served.run(app, listener)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Of a named protocol, or asyncio leaves Nagle's algorithm on: each reply would wait 40 ms for the client's ACK.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        raise LaunchError(f"cannot listen at {host} port {port}: {error.strerror or error}") from error
    return listener


def _local(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


class Served:
    """The running server. Pages that are open ask whether it ends, for it waits until their streams have."""

    def __init__(self) -> None:
        self._server: uvicorn.Server | None = None

    def ending(self) -> bool:
        """Whether the server shall end."""
        return self._server is not None and self._server.should_exit

    def run(self, app: object, listener: socket.socket) -> None:
        """Serve until somebody ends it."""
        import uvicorn

        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"serving http://{shown}:{port} (Ctrl-C ends it)")
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_keep_alive=75)  # type: ignore[arg-type]
        self._server = uvicorn.Server(config)
        self._server.run(sockets=[listener])
