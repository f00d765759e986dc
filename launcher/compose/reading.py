"""Hydra parses every file anew for each config that it composes, and copies all of its sources first: half of its time.
Here a file is parsed again only when it has changed."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

from hydra._internal.config_repository import ConfigRepository
from hydra.core.object_type import ObjectType

if TYPE_CHECKING:
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.plugins.config_source import ConfigResult, ConfigSource

Stamp = tuple[int, ...]
Known = dict[tuple[str, str, str], tuple[Stamp, "ConfigResult | None"]]

LASTING = ("hydra", "hydra_plugins")
_LASTING: Known = {}
"""What was parsed of these packages, which stay as they are while a process runs. Packages of the user's own are edited
like any file, so what was parsed of them is for one repository."""


class Parsed(ConfigRepository):
    """Hydra's own repository of configs, which keeps what it has parsed. What it hands out may be changed.

    Hydra takes a deep copy of it for each config, which may get sources of its own (`hydra.searchpath`): all share what
    was parsed.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        self._known: Known = {}
        super().__init__(config_search_path)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parsed:
        twin = Parsed.__new__(Parsed)
        twin.sources, twin._known = list(self.sources), self._known
        return twin

    def load_config(self, config_path: str) -> ConfigResult | None:
        """The config of one file, or a registered one; None where there is none."""
        source = self._find_object_source(config_path=config_path, object_type=ObjectType.CONFIG)
        stamp = _stamp(source, config_path) if source else None
        if not source or stamp is None:
            return super().load_config(config_path)
        lasting = source.scheme() == "pkg" and source.path.split(".")[0] in LASTING
        known = _LASTING if lasting else self._known
        place = (source.provider, source.path, config_path)
        if place not in known or known[place][0] != stamp:
            known[place] = stamp, super().load_config(config_path)
        return copy.deepcopy(known[place][1])


def _stamp(source: ConfigSource, config_path: str) -> Stamp | None:
    """What changes with a file of a source; None where its configs are no files, and cost no parsing."""
    if source.scheme() == "pkg":
        return ()
    if source.scheme() != "file":
        return None
    try:
        status = os.stat(os.path.join(source.path, source._normalize_file_name(config_path)))  # noqa: PTH116, PTH118
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
