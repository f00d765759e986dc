"""The Dockerfile of a source that brings none: what its lock file, requirements or pyproject.toml ask for first, the
code last, so that another commit of the same requirements is built from what was built before."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.errors import BuildError

FOLDER = "/launcher/code"
"""Where the code lies in an image."""

IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")

LOCAL = re.compile(r"(-e|--editable|\.|/|file:)|.*@ *file:")
"""Lines of requirements that name a folder of the code."""

PIP = ("python", "-m", "pip", "install", "--no-cache-dir", "--root-user-action=ignore")


def generated(code: Path, base: str) -> str:
    """A Dockerfile for the code in a folder, on the image `base`. Raises BuildError for a name that is none,
    and for a pyproject.toml that is no TOML.

    Commands are lists, as Docker's exec form has them: nothing of the code's files is read by a shell.
    """
    if not IMAGE.fullmatch(base):
        raise BuildError(f"base image {base!r} is none; expected the name of an image, as python:3.12-slim")
    lines = [f"FROM {base}", "ENV PYTHONUNBUFFERED=1", f"WORKDIR {FOLDER}", *_layers(code)]
    return "\n".join(lines) + "\n"


def _layers(code: Path) -> Iterator[str]:
    project = _project(code)
    if (code / "uv.lock").is_file() and project is not None:
        sync = ("uv", "sync", "--frozen", "--no-dev", "--no-cache")
        yield _run(*PIP, "uv")
        yield _copy("pyproject.toml", "uv.lock")
        yield _run(*sync, "--no-install-project")
        yield from (CODE, _run(*sync), f"ENV PATH={FOLDER}/.venv/bin:$PATH")
    elif (code / "requirements.txt").is_file():
        names = sorted(path.name for glob in ("requirements*.txt", "constraints*.txt") for path in code.glob(glob))
        install = _run(*PIP, "--requirement", "requirements.txt")
        yield from (CODE, install) if _refers_to_code(code, names) else (_copy(*names), install, CODE)
    elif project is not None and "dependencies" in project.get("dynamic", ()):
        yield from (CODE, _run(*PIP, "."))
    elif project is not None:
        if needed := [str(each) for each in project.get("dependencies", ())]:
            yield _run(*PIP, *needed)
        yield from (CODE, _run(*PIP, "--no-deps", "."))
    else:
        yield CODE


CODE = "COPY . ."


def _run(*words: str) -> str:
    return f"RUN {json.dumps(words)}"


def _copy(*names: str) -> str:
    return f"COPY {json.dumps([*names, './'])}"


def _refers_to_code(code: Path, names: list[str]) -> bool:
    lines = (
        line for name in names for line in (code / name).read_text(encoding="utf-8", errors="replace").splitlines()
    )
    return any(LOCAL.match(line.strip()) for line in lines)


def _project(code: Path) -> dict[str, Any] | None:
    """The `[project]` of its pyproject.toml; None where it has none."""
    file = code / "pyproject.toml"
    if not file.is_file():
        return None
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BuildError(
            f"pyproject.toml of the source is not TOML, so no Dockerfile can be made of it: {error}"
        ) from error
    return project if isinstance(project, dict) else None
