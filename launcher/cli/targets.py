"""What a command is about: its store, and the items and sweeps that its arguments name; and who gives it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from launcher.errors import NotFoundError, suggest
from launcher.item import Item, ItemFilter
from launcher.queues import Store, open_store
from launcher.settings import store_url

Function = TypeVar("Function", bound=Callable[..., Any])


def store_option(function: Function) -> Function:
    """`--store URL`."""
    text = "Where the queues live (default: LAUNCHER_STORE, [tool.launcher] of pyproject.toml, the user's data folder)."
    return click.option("--store", metavar="URL", help=text)(function)


def json_option(function: Function) -> Function:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


@contextmanager
def opened(url: str | None, *, read_only: bool = False, as_is: bool = False) -> Iterator[Store]:
    """The store of a command, closed at its end; see `launcher.queues.open_store`."""
    store = open_store(store_url(url), read_only=read_only, as_is=as_is)
    try:
        yield store
    finally:
        store.close()


def folder_option(function: Function) -> Function:
    """`--dir FOLDER`."""
    text = "Folder for the runs' folders and checkouts (default: beside the store)."
    path = click.Path(path_type=Path)
    return click.option("--dir", "folder", type=path, envvar="LAUNCHER_DIR", help=text)(function)


def agent_folder(store: Store, folder: Path | None) -> Path:
    """An agent's folder: the given one, else the store's, else one in the user's data folder."""
    if folder is None:
        path = getattr(store, "path", None)
        if isinstance(path, Path):
            return path.parent
        import platformdirs

        folder = Path(platformdirs.user_data_path("launcher"))
    return folder.absolute()


def selected(store: Store, names: Sequence[str]) -> list[ItemFilter]:
    """What arguments name: sweeps by name, else items by ID or by a unique beginning of one."""
    known = {sweep.name for sweep in store.sweeps()}
    filters = []
    for name in names:
        if name in known:
            filters.append(ItemFilter(sweep=name))
        else:
            try:
                filters.append(ItemFilter(ids=(store.item(name).id,)))
            except NotFoundError as error:
                if "several" in str(error):
                    raise
                raise NotFoundError(
                    f"{name!r} is neither a sweep nor an item's ID; sweeps: {suggest(name, known)}"
                ) from error
    return filters


def found_item(store: Store, name: str) -> Item:
    """The item of an ID or of a unique beginning of one; for a sweep's name, NotFoundError says what shows a sweep."""
    sweep = name in {each.name for each in store.sweeps()}
    try:
        item = store.item(name)
        if item.id == name or not sweep:  # a sweep's name says more than the beginning of an ID
            return item
    except NotFoundError:
        if not sweep:
            raise
    how = f"launcher status {name} shows its items, launcher results {name} what they reported"
    raise NotFoundError(f"{name!r} is a sweep; {how}")


def user() -> str:
    """Who acts, for the event log."""
    return os.environ.get("WANDB_USERNAME") or os.environ.get("USER") or os.environ.get("LOGNAME") or "user"
