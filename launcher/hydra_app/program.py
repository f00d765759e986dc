"""Which Hydra app is launched: the script or module that this process runs, or one that is named from outside and asked
for its configs without being run."""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from launcher.errors import LaunchError, UsageError
from launcher.sources import covers

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra

FLAGS = ("config_path", "config_name", "config_dir")
"""Options of a Hydra app that say where its configs are."""


@dataclass(frozen=True, slots=True)
class App:
    """A Hydra app: the `folder` that its code is pinned from, what `launcher.hydra_app.job` runs there (`train.py`, or
    `-m` and a module), and the options that its configs are found with."""

    folder: str
    program: tuple[str, ...]
    flags: tuple[str, ...] = ()

    @staticmethod
    def of_script(script: Path, flags: Sequence[str] = ()) -> App:
        """The app of a file: pinned with the current folder if that one's code holds it, else with its own."""
        script, here = script.resolve(), Path.cwd()
        folder = here if script.parent == here or covers(here, script) else script.parent
        return App(str(folder), (script.relative_to(folder).as_posix(),), tuple(flags))

    def apart(self) -> bool:
        """Whether its code is that of another folder than the current one."""
        return Path(self.folder) != Path.cwd()

    def entry_point(self, python: Sequence[str] | None = None, *, elsewhere: bool = False) -> list[str]:
        """The command of its runs: `python`, by default this one (`elsewhere`: the one on the PATH there), and the app.

        With `-P` no folder of the app that happens to be called launcher is taken for us.
        """
        own = ["python" if elsewhere else sys.executable, "-P"]
        return [*(python or own), "-m", "launcher.hydra_app.job", *self.program]


def running_app() -> App | None:
    """The app that this process runs; None where nobody could start it again: its main function was called by a test or
    a notebook, say."""
    caller = _caller_of_main()
    main = sys.modules["__main__"]
    if caller is None or caller.f_globals is not vars(main):
        return None
    from hydra._internal.utils import get_args_parser

    given = get_args_parser().parse_args()
    flags = [f"--{name.replace('_', '-')}={value}" for name in FLAGS if (value := getattr(given, name))]
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # python -m
        return App(str(Path.cwd()), ("-m", spec.name.removesuffix(".__main__")), tuple(flags))
    file = getattr(main, "__file__", None)
    return App.of_script(Path(file), flags) if file and Path(file).is_file() else None


def _caller_of_main() -> FrameType | None:
    """The frame that called the function which `hydra.main` made."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "decorated_main" and frame.f_globals.get("__name__") == "hydra.main":
            return frame.f_back
        frame = frame.f_back
    return None


# -- an app that is named from outside --------------------------------------------------------------------------------


class _AskedError(BaseException):
    """Ends the app's program where Hydra would begin to run it; no `except Exception` of the app's stops it."""

    def __init__(self, hydra: Hydra, config_name: str | None, overrides: Sequence[str]) -> None:
        super().__init__()
        self.hydra, self.config_name, self.overrides = hydra, config_name, overrides


def inspect_app(words: Sequence[str]) -> tuple[App, Hydra, str | None]:
    """The app that `words` name (`train.py`, or `-m` and a module; options such as --config-name after it), with Hydra
    as it is there, and the config's name. Its program runs up to the call of its main function, not further.

    Raises UsageError for what is no Hydra app, and for overrides among the options, which would be no part of what is
    composed; LaunchError for a program that fails before that.
    """
    module, name, flags = _words(words)
    asked = _run_up_to_main(module, name, flags)
    if within := [text for text in asked.overrides if text in flags]:
        raise UsageError(f"give overrides after --app, not in it: {shlex.join(within)}")
    app = App(str(Path.cwd()), ("-m", name), flags) if module else App.of_script(Path(name), flags)
    return app, asked.hydra, asked.config_name


def _words(words: Sequence[str]) -> tuple[bool, str, tuple[str, ...]]:
    module = list(words[:1]) == ["-m"]
    if len(words) <= module:
        raise UsageError("no app is named; expected its script, as train.py, or -m and its module")
    name = words[module]
    if not module and not Path(name).is_file():
        raise UsageError(f"app {name!r} is no file; expected a Hydra app's script, as train.py, or -m and its module")
    return module, name, tuple(words[module + 1 :])


def _run_up_to_main(module: bool, name: str, flags: Sequence[str]) -> _AskedError:
    from hydra._internal.hydra import Hydra
    from hydra.types import RunMode

    def stop(hydra: Hydra, config_name: str | None, overrides: Sequence[str], **_: Any) -> None:
        raise _AskedError(hydra, config_name, overrides)

    kept = Hydra.get_mode, Hydra.run, sys.argv, sys.path[:]
    Hydra.get_mode = lambda *_, **__: RunMode.RUN  # type: ignore[method-assign]
    Hydra.run = stop  # type: ignore[method-assign, assignment]
    sys.argv = [name, *flags]
    sys.path.insert(0, str(Path.cwd() if module else Path(name).resolve().parent))
    try:
        if module:
            runpy.run_module(name, run_name="__main__")
        else:
            runpy.run_path(str(Path(name).resolve()), run_name="__main__")
    except _AskedError as asked:
        return asked
    except (Exception, SystemExit) as error:
        raise LaunchError(
            f"app {name!r} failed before its hydra.main function was called: {type(error).__name__}: {error}"
        ) from error
    finally:
        Hydra.get_mode, Hydra.run, sys.argv, sys.path[:] = kept  # type: ignore[method-assign]
    raise UsageError(f"app {name!r} calls no function that hydra.main made; expected a Hydra app")
