"""A config repository as Hydra sees it: parse overrides, compose one config. The only module that touches Hydra's
loader; its exceptions become ComposeErrors that name the override and the nearest known names."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from launcher.errors import ComposeError, suggest

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


class Repository:
    """The configs of one folder, with Hydra's search path around it (its plugins may add to that).

    Hydra keeps its version base, job name and resolvers in process-wide state. The first two are this repository's only
    while it composes, then the caller's again, and `GlobalHydra` is left alone: so it also works inside a Hydra app.

    >>> Repository("conf").compose("config", ["seed=3"]).seed
    3
    """

    def __init__(self, config_dir: str | Path, version_base: str | None = None) -> None:
        self.folder = Path(config_dir).expanduser().resolve()
        if not self.folder.is_dir():
            raise ComposeError(
                f"config folder {self.folder} does not exist; name it with --config-dir, or as config_dir in "
                "[tool.launcher] of pyproject.toml"
            )
        from hydra import version
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra._internal.utils import create_config_search_path
        from hydra.core.utils import setup_globals
        from packaging.version import Version

        from launcher.compose.reading import Parsed

        setup_globals()
        with _caller_keeps_globals():
            version.setbase(version_base)
            self._version_base: Version | None = version.getbase()
            self._loader = ConfigLoaderImpl(create_config_search_path(str(self.folder)))
            self._loader.repository = Parsed(self._loader.config_search_path)

    @staticmethod
    def of_loader(loader: ConfigLoader) -> Repository:
        """The configs of a Hydra app, as its own loader sees them, with the structured ones that it registered."""
        repository = Repository.__new__(Repository)
        mains = [source.path for source in loader.get_sources() if source.provider == "main"]
        repository.folder = Path(mains[0] if mains else ".")
        repository._version_base = None  # that of the app holds
        repository._loader = loader  # type: ignore[assignment]  # Hydra has no other implementation
        return repository

    def parse(self, overrides: Sequence[str]) -> list[Override]:
        """Hydra's own reading of override strings; ComposeError lists all that do not parse."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        parser = OverridesParser.create(config_loader=self._loader)
        parsed, problems = [], []
        with self._globals():
            for override in overrides:
                try:
                    parsed.extend(parser.parse_overrides([override]))
                except HydraException as error:
                    said = str(error).splitlines()
                    lines = [line for line in said if not line.startswith(("Error parsing", "See https"))]
                    reason = " ".join(lines) or "Hydra's grammar has no such form"
                    problems.append(
                        f"override {override!r} does not parse: {reason}; expected key=value or group=option"
                    )
        if problems:
            raise ComposeError("\n".join(problems))
        return parsed

    def hydra_overrides(self, overrides: Sequence[str]) -> list[str]:
        """Those of `overrides` that are about Hydra's own config."""
        return [str(parsed.input_line) for parsed in self.parse(overrides) if parsed.is_hydra_override()]

    def compose(self, config_name: str | None, overrides: Sequence[str]) -> DictConfig:
        """What `hydra.compose` returns for this config and these overrides: the app's config, without `hydra`."""
        return self.compose_and_choose(config_name, overrides)[0]

    def compose_and_choose(
        self, config_name: str | None, overrides: Sequence[str]
    ) -> tuple[DictConfig, dict[str, Any]]:
        """The same, and which option each of its config groups has, those of the defaults lists included."""
        from hydra.types import RunMode
        from omegaconf import OmegaConf, open_dict

        with self._explaining(config_name, overrides):
            config = self._loader.load_configuration(
                config_name, list(overrides), run_mode=RunMode.RUN, from_shell=False
            )
            choices = cast("dict[str, Any]", OmegaConf.to_container(config.hydra.runtime.choices))
            with open_dict(config):
                del config["hydra"]
        return config, {group: option for group, option in choices.items() if not group.startswith("hydra/")}

    def sweeper_params(self, config_name: str | None, overrides: Sequence[str]) -> list[str]:
        """`hydra.sweeper.params` of the config as override strings, which a multirun puts before the command line's."""
        from hydra.types import RunMode

        with self._explaining(config_name, overrides):
            config = self._loader.load_configuration(
                config_name, list(overrides), run_mode=RunMode.MULTIRUN, from_shell=False
            )
            params = config.hydra.sweeper.get("params") or {}
            return [f"{key}={value}" for key, value in params.items()]

    def group_check(self, config_name: str | None, overrides: Sequence[str]) -> Callable[[str], bool]:
        """Tells whether a key is a config group, for this config and the search path that `overrides` may set."""
        with self._explaining(config_name, overrides):
            _, caching = self._loader._parse_overrides_and_create_caching_repo(config_name, list(overrides))
        return lambda key: bool(caching.group_exists(key))

    @contextmanager
    def _globals(self) -> Iterator[None]:
        from hydra.core.utils import JobRuntime
        from hydra.version import VersionBase

        if self._version_base is None:
            yield
            return
        with _caller_keeps_globals():
            VersionBase.instance().setbase(self._version_base)
            JobRuntime.instance().set("name", "app")
            yield

    @contextmanager
    def _explaining(self, config_name: str | None, overrides: Sequence[str]) -> Iterator[None]:
        from hydra.errors import HydraException, MissingConfigException
        from omegaconf.errors import OmegaConfBaseException

        with self._globals():
            try:
                yield
            except MissingConfigException as error:
                raise ComposeError(self._missing(error, config_name)) from error
            except (HydraException, OmegaConfBaseException) as error:
                raise ComposeError(self._refused(error, config_name, overrides)) from error
            except Exception as error:  # Hydra passes on what reading a broken YAML file raises, whatever its type
                raise ComposeError(f"config {config_name!r} in {self.folder} does not compose: {error}") from error

    def _missing(self, error: Any, config_name: str | None) -> str:
        missing = str(error.missing_cfg_file or config_name)
        group, _, option = missing.rpartition("/")
        if not group:
            return f"no config named {missing!r} in {self.folder}; {suggest(missing, self._options(''))}"
        if not (options := self._options(group)):
            groups = self._loader.list_groups("")
            return f"no config group {group!r} in {self.folder} (for {group}={option}); {suggest(group, groups)}"
        return f"no option {option!r} in config group {group!r} of {self.folder}; {suggest(option, options)}"

    def _options(self, group: str) -> list[str]:
        return [name for name in self._loader.get_group_options(group) if not name.startswith("_")]

    def _refused(self, error: BaseException, config_name: str | None, overrides: Sequence[str]) -> str:
        lines = [line.strip() for line in _chain(error) if line.strip()]
        shown = ", ".join(overrides) or "(none)"
        message = f"config {config_name!r} with overrides {shown} does not compose: {'; '.join(lines)}"
        if lines and lines[0].startswith("Could not override '"):
            unknown = lines[0].split("'")[1]
            others = [o for o in overrides if o.partition("=")[0].lstrip("+~") != unknown]
            known = self._known_keys(config_name, others)
            if unknown in known:
                return message  # it is there, but the value does not fit
            near = difflib.get_close_matches(unknown, known, n=3)
            message = f"no key {unknown!r} in config {config_name!r} (overrides: {shown})"
            message += f"; did you mean {', '.join(map(repr, near))}?" if near else "; no key has a similar name."
            message += f" To add a new key, write +{unknown}=…"
        return message

    def _known_keys(self, config_name: str | None, overrides: Sequence[str]) -> list[str]:
        from hydra.types import RunMode

        try:
            config = self._loader.load_configuration(
                config_name, list(overrides), run_mode=RunMode.MULTIRUN, from_shell=False
            )
        except Exception:  # without one of its overrides the config may not compose; then there is nothing to suggest
            return []
        keys = {key for key in _keys(config) if not key.startswith("hydra")}
        return sorted(keys.union(self._loader.list_groups("")))


@contextmanager
def _caller_keeps_globals() -> Iterator[None]:
    from hydra.core.utils import JobRuntime
    from hydra.version import VersionBase

    base, job = VersionBase.instance(), JobRuntime.instance()
    version_base, name = base.getbase(), job.get("name")
    try:
        yield
    finally:
        base.version_base = version_base  # not by setbase(), which refuses one that was never set
        job.set("name", name)


def import_resolvers(module: str, folder: Path) -> None:
    """Import a module of the project in `folder` for what it registers with OmegaConf.

    Raises ComposeError, with the reason, when it cannot be imported.
    """
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever the user's module raises
        reason = f"{type(error).__name__}: {error}"
        raise ComposeError(
            f"module {module!r}, which should register resolvers, cannot be imported from {folder}: {reason}"
        ) from error


def _chain(error: BaseException) -> Iterator[str]:
    """The lines of an exception and its causes, without OmegaConf's repetition of key and type."""
    seen: set[str] = set()
    current: BaseException | None = error
    while current is not None:
        for line in str(current).splitlines():
            if line.strip() not in seen and not line.strip().startswith(
                ("full_key:", "object_type=", "reference_type=")
            ):
                seen.add(line.strip())
                yield line
        current = current.__cause__


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig

    for key in node.keys():
        child = node._get_node(key)
        yield f"{prefix}{key}"
        if isinstance(child, DictConfig) and child._is_interpolation() is False and not child._is_none():
            yield from _keys(child, f"{prefix}{key}.")
