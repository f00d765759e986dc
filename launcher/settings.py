"""Where things are by default: the project's `[tool.launcher]` table, the store's URL. The command line and the Python
API read it once; nothing here opens or creates a file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import UsageError, suggest

KEYS = ("base_image", "config_dir", "config_name", "resolvers", "store")


@dataclass(frozen=True, slots=True)
class Settings:
    """`[tool.launcher]` of the nearest pyproject.toml upwards that has one.

    `root` is that file's folder; without such a file, the folder that was asked about.
    """

    root: Path
    config_dir: str | None = None
    config_name: str | None = None
    resolvers: str | None = None
    store: str | None = None
    base_image: str | None = None
    """What generated images begin with."""


def load_settings(start: Path | None = None) -> Settings:
    """The settings of the project that `start` (default: the current folder) lies in.

    Raises UsageError for a pyproject.toml that is not TOML, and for unknown or ill-typed keys of the table.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        table = _table(folder / "pyproject.toml")
        if table is not None:
            return Settings(root=folder, **table)
    return Settings(root=start)


def settings_of(folder: Path) -> Settings:
    """The settings of the project in just this folder, whatever lies above it."""
    return Settings(root=folder, **(_table(folder / "pyproject.toml") or {}))


def _table(file: Path) -> dict[str, str] | None:
    """The file's `[tool.launcher]`, checked; None where there is none."""
    try:
        tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not TOML: {error}") from error
    if tool is not None and not isinstance(tool, dict):
        raise UsageError(f"{file}: tool is {tool!r}, expected a table")
    table = tool.get("launcher") if tool else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise UsageError(f"{file}: tool.launcher is {table!r}, expected a table")
    unknown = [f"{file}: tool.launcher.{key} is unknown; {suggest(key, KEYS)}" for key in table if key not in KEYS]
    ill_typed = [
        f"{file}: tool.launcher.{key} is {value!r}, expected a string"
        for key, value in table.items()
        if key in KEYS and not isinstance(value, str)
    ]
    if unknown or ill_typed:
        raise UsageError("\n".join(unknown + ill_typed))
    if table.get("config_dir", "").startswith("~/"):
        table["config_dir"] = str(Path(table["config_dir"]).expanduser())
    return table


def store_url(explicit: str | None = None, settings: Settings | None = None) -> str:
    """The store's URL: `explicit` > LAUNCHER_STORE > the project's setting > a file in the user's data folder.

    A relative `sqlite:///` path of the project's setting is relative to its pyproject.toml; `~/` is the user's home,
    which stores and `data_folder` look up.
    """
    chosen = explicit or os.environ.get("LAUNCHER_STORE")
    if chosen:
        return chosen
    settings = settings or load_settings()
    if settings.store:
        scheme, _, rest = settings.store.partition(":///")
        if scheme == "sqlite" and rest and not rest.startswith(("/", "~/")):
            return f"sqlite:///{settings.root / rest}"
        return settings.store
    import platformdirs

    return f"sqlite:///{platformdirs.user_data_path('launcher') / 'store.db'}"


BESIDE = (
    "runs", "builds", "sources/trees", "sources/mirrors", "sources/locks", "server/runs", "server/blobs",
    "server/manifests",
)  # fmt: skip
"""What agents, image builds and `launcher serve` make beside a store; `sources` and `server` may hold code as well."""


def store_files(url: str) -> list[Path]:
    """What a store and its agents write on this machine, whether it is there yet or not: no part of anybody's code,
    also where it lies among that.

    >>> [path.as_posix() for path in store_files("sqlite:////data/store.db")][:3]
    ['/data/runs', '/data/builds', '/data/sources/trees']
    """
    file = _file(url)
    own = [file.with_name(f"{file.name}{ending}") for ending in ("", "-wal", "-shm")] if file else []
    folder = data_folder(url)
    return [*(folder / name for name in BESIDE), *own, written_list(url)]


def written_list(url: str) -> Path:
    """The list of what `launcher.written` remembers for a store."""
    file = _file(url)
    return file.with_name(f"{file.name}-written") if file else data_folder(url) / "written"


def data_folder(url: str) -> Path:
    """The folder for what belongs to a store and lies beside it: runs, checkouts, logs of builds.

    >>> data_folder("sqlite:////data/store.db").as_posix()
    '/data'
    """
    if file := _file(url):
        return file.parent
    import platformdirs

    return Path(platformdirs.user_data_path("launcher"))


def _file(url: str) -> Path | None:
    """The file of an SQLite store."""
    scheme, _, path = url.partition(":///")
    return Path(path).expanduser().absolute() if scheme == "sqlite" and path else None
