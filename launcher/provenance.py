"""Where a run comes from: who added it on which machine with which versions, and what its config was composed from. The
dispatcher writes it into each spec; what the rest of the spec, or its item, tells already is not said twice there."""

from __future__ import annotations

import getpass
import platform
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from launcher import canonical
from launcher.errors import SourceError
from launcher.item import Item
from launcher.sources import pin
from launcher.spec import LaunchSpec, Source

KEPT = ("user", "host", "python", "launcher", "hydra", "choices", "config_name", "config")
"""What a spec itself says of its provenance, where it is known."""


def login() -> str:
    """Who works on this machine, by its own account."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


@cache
def _surroundings() -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "user": login(),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "launcher": sys.modules["launcher"].__version__,  # what runs here, also where it was never installed
        "hydra": version("hydra-core"),
    }


@dataclass(slots=True)
class Provenance:
    """The provenance of the specs that one command, or one call, adds.

    `config_dir` is the config repository that they were composed from, if they were, `config_name` its primary config,
    and `revision` the commit that it was read at, where that was asked for.
    """

    config_dir: Path | None = None
    config_name: str | None = None
    revision: Source | None = None
    _shared: dict[str, Any] = field(default_factory=_surroundings)
    _config: Source | None = None
    _last: tuple[Any, dict[str, Any]] | None = None

    def of(self, document: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
        """What a spec says of where it comes from; the specs of a sweep share its parts.

        `choices` are its group choices. The config repository is named where it is not the code, at the same commit.
        """
        asked = (choices, document.get("uri"), document["git"].get("version"))
        if self._last is None or self._last[0] != asked:  # the points of a grid come in long runs of equal choices
            self._last = (asked, self._made(document, choices))
        return self._last[1]

    def _made(self, document: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
        made = {**self._shared, "choices": choices} if choices else {**self._shared}
        if self.config_dir:
            made["config_name"] = self.config_name
            source = self._source()
            if not _within(source, Source.of(document)):
                made["config"] = source.fields()
        return made

    def _source(self) -> Source:
        """The config repository's commit; its uncommitted changes are noted, not kept, for specs hold their configs."""
        if self._config is None:
            assert self.config_dir
            try:
                self._config = self.revision or pin(str(self.config_dir), dirty="ignore")[0]
            except SourceError:  # nothing that runs depends on it
                self._config = Source(folder=str(self.config_dir))
        return self._config


def _within(config: Source, code: Source) -> bool:
    """Whether a config repository is part of the code: the same commit, or a folder below it."""
    if config.commit:
        return config.commit == code.commit
    return bool(config.folder and code.folder and Path(config.folder).is_relative_to(code.folder))


def told(item: Item, document: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that is known of where a run comes from, in one mapping: what its spec says under `provenance` (None
    where it says nothing), and what follows from the rest of it."""
    source = Source.of(document)
    kept = document.get("provenance")
    return {
        **dict.fromkeys(KEPT),
        **(kept if isinstance(kept, Mapping) else {}),
        "remote": source.repo,
        "folder": source.folder,
        "commit": source.commit,
        "patch": source.patch,
        "image": (document.get("docker") or {}).get("docker_image") or document.get("image_uri"),
        "overrides": list(item.point),
        "config_digest": config_digest(document),
        "command": LaunchSpec(document).command(),
        "author": document.get("author"),
        "added_at": item.added_at,
    }


def config_digest(document: Mapping[str, Any]) -> str | None:
    """32 hexadecimal digits, equal for equal composed configs; None without one."""
    config = document.get("overrides", {}).get("run_config")
    return canonical.digest(config) if config else None
