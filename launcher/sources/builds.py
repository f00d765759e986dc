"""Images of pinned sources. What is to be built is a value first: Dockerfile, tag and command lines come of the source
alone. Then it is built, unless it is there already, by Docker or Podman, and pushed; logs are kept."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher import canonical
from launcher.errors import BuildError
from launcher.sources.checkouts import exclusive
from launcher.sources.dockerfile import generated
from launcher.sources.program import git
from launcher.spec import Source

OWN_NAMES = ("Dockerfile.launcher", "Dockerfile.wandb")
ENGINES = ("docker", "podman")
SHOWN_LINES = 15
LOOPBACK = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?/")


@dataclass(frozen=True, slots=True)
class Build:
    """An image to be built of a source: its name with a tag that says what is in it, and what the engine is told.

    `file` is the Dockerfile's path in the code, None for a generated one, whose text is `dockerfile`.
    """

    name: str
    tag: str
    commit: str
    dockerfile: str
    file: str | None = None
    platform: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    pushed: bool = False

    @property
    def image(self) -> str:
        """What names the image: `name:tag`."""
        return f"{self.name}:{self.tag}"

    def command(self, engine: str, dockerfile: str, context: str, *, buildkit: bool = False) -> list[str]:
        """What builds it, from a folder with the code."""
        options = {"--file": dockerfile, "--tag": self.image, "--platform": self.platform}
        options["--label"] = f"org.opencontainers.image.revision={self.commit}"
        words = [word for name, value in options.items() if value for word in (name, value)]
        words += [word for name, value in sorted(self.arguments.items()) for word in ("--build-arg", f"{name}={value}")]
        if buildkit:
            return [engine, "buildx", "build", "--load", "--progress", "plain", *words, context]
        return [engine, "build", "--force-rm", *words, context]

    def push(self, engine: str) -> list[str]:
        """What pushes it."""
        return [engine, "push", *self._plainly(engine), self.image]

    def look(self, engine: str) -> list[str]:
        """What succeeds where it is on this machine."""
        return [engine, "image", "inspect", self.image]

    def look_afar(self, engine: str) -> list[str]:
        """What succeeds where its repository has it."""
        insecure = ["--insecure"] if engine == "docker" and LOOPBACK.match(self.name) else self._plainly(engine)
        return [engine, "manifest", "inspect", *insecure, self.image]

    def _plainly(self, engine: str) -> list[str]:
        """A registry of this machine speaks HTTP; Docker knows that by itself when it pushes."""
        return ["--tls-verify=false"] if engine == "podman" and LOOPBACK.match(self.name) else []


def plan_build(  # noqa: PLR0913 - all that decides what an image holds
    source: Source,
    code: Path,
    *,
    entry_point: Sequence[str] = (),
    dockerfile: str | None = None,
    builder: Mapping[str, Any] | None = None,
    base_image: str | None = None,
    python_version: str | None = None,
    repository: str | None = None,
) -> Build:
    """The image of a source whose code lies in the folder `code`; nothing is written.

    Its Dockerfile is `dockerfile`, a path in the code, else Dockerfile.launcher or Dockerfile.wandb beside the program
    that the entry point names, else a generated one. `builder` is as schemas/builder.json says.
    Raises BuildError for a source that is not pinned, and for a Dockerfile that is not in it.
    """
    if not source.commit or source.in_place:
        raise BuildError(f"the code in {source.folder} is in no git commit, so no image of it can be built; commit it")
    options = builder or {}
    file = _own_file(code, entry_point, dockerfile)
    if file:
        text = (code / file).read_text(encoding="utf-8", errors="replace")
    else:
        version = python_version or f"{sys.version_info.major}.{sys.version_info.minor}"
        text = generated(code, options.get("base_image") or base_image or f"python:{version}-slim")
    platform, arguments = options.get("platform"), options.get("build_args") or {}
    content = [text, file, source.commit, source.patch, source.subdir, platform, arguments]
    name = repository or f"launcher-{short_name(source)}"
    return Build(
        name, canonical.digest(content)[:20], source.commit, text, file, platform, arguments, pushed=bool(repository)
    )


def short_name(source: Source) -> str:
    """A name for what is made of a source: its folder's or repository's, as images may be called.

    >>> short_name(Source(repo="https://host/team/My_Project.git", commit="0" * 40, subdir="train"))
    'my-project-train'
    """
    whole = (
        f"{(source.repo or source.folder or '').rstrip('/').removesuffix('.git').rpartition('/')[2]}-{source.subdir}"
    )
    return re.sub(r"[^a-z0-9]+", "-", whole.lower()).strip("-") or "code"


def _own_file(code: Path, entry_point: Sequence[str], dockerfile: str | None) -> str | None:
    """The path in the code of the Dockerfile that the source brings."""
    if dockerfile:
        if not _leads_inside(code, dockerfile):
            raise BuildError(f"overrides.dockerfile {dockerfile!r} leads out of the source; expected a path in it")
        if not _is_file(code, dockerfile):
            raise BuildError(f"overrides.dockerfile {dockerfile!r} is not in the source (or not committed)")
        return Path(os.path.normpath(dockerfile)).as_posix()
    program = next((word for word in entry_point if _is_inside(code, word)), "")
    for name in OWN_NAMES:
        beside = Path(program).parent / name
        if _is_inside(code, beside.as_posix()):
            return Path(os.path.normpath(beside)).as_posix()
    return None


def _is_inside(code: Path, name: str) -> bool:
    return _is_file(code, name) and _leads_inside(code, name)


def _is_file(code: Path, name: str) -> bool:
    return os.path.isfile(code / name)  # noqa: PTH113 - a Path raises for words that are too long for a file's name


def _leads_inside(code: Path, name: str) -> bool:
    return not Path(name).is_absolute() and Path(os.path.realpath(code / name)).is_relative_to(code.resolve())


@dataclass(frozen=True, slots=True)
class Images:
    """Builds images on this machine; `logs` is the folder that keeps the log of each, `tell` hears what is going on."""

    logs: Path
    tell: Callable[[str], None] = lambda _: None

    def provide(self, build: Build, code: Path, engine: str | None = None) -> None:
        """See to it that the image is there, and in its repository if it has one. `engine`: docker or podman; default:
        the one of them that is on PATH. Raises BuildError, with the end of the log, when it cannot be built."""
        program = _engine(engine)
        with exclusive(self.logs / "locks" / build.tag):
            if build.pushed and _succeeds(build.look_afar(program)):
                return
            if not _succeeds(build.look(program)):
                self._build(build, code, program)
            if build.pushed:
                self._run(build, build.push(program), "push")

    def log(self, build: Build) -> Path:
        """Where the log of its last build and push lies."""
        return self.logs / f"{build.tag}.log"

    def _build(self, build: Build, code: Path, program: str) -> None:
        buildkit = program == "docker" and _succeeds([program, "buildx", "version"])
        self.log(build).unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="launcher-build-") as folder:
            context = Path(folder, "context")
            export(code, context)
            dockerfile = context / build.file if build.file else Path(folder, "Dockerfile")
            if not build.file:
                dockerfile.write_text(build.dockerfile, encoding="utf-8")
            self._run(build, build.command(program, str(dockerfile), str(context), buildkit=buildkit), "build")

    def _run(self, build: Build, command: Sequence[str], what: str) -> None:
        last: deque[str] = deque(maxlen=SHOWN_LINES)
        log = self.log(build)
        environ = os.environ if "buildx" in command else {**os.environ, "DOCKER_BUILDKIT": "0"}
        with log.open("a", encoding="utf-8") as file, subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        ) as running:  # fmt: skip
            file.write(f"$ {' '.join(command)}\n")
            assert running.stdout
            try:
                for line in running.stdout:
                    file.write(line)
                    last.append(line.rstrip())
                    if told := line.strip():
                        self.tell(f"{what} of {build.image}: {told}")
            except BaseException:
                running.terminate()
                raise
        if running.returncode:
            end = "".join(f"\n  {line}" for line in last)
            how = f"failed with exit code {running.returncode}"
            raise BuildError(f"the {what} of image {build.image} {how}; the log {log} ends:{end}")


def export(code: Path, target: Path) -> None:
    """Copy what is in git (and its submodules) of a checkout's folder, and nothing that runs have put beside it. Links
    are copied as links: nothing outside is ever read through one."""
    target.mkdir(parents=True)
    listed = git(["-C", code, "ls-files", "-z", "--cached", "--recurse-submodules"])
    for name in filter(None, os.fsdecode(listed).split("\0")):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(code / name, copy, follow_symlinks=False)
        if not copy.is_symlink():
            copy.chmod(copy.stat().st_mode | 0o200)


def _engine(wanted: str | None) -> str:
    tried = [wanted] if wanted else ENGINES
    found = next((name for name in tried if shutil.which(name)), None)
    if not found:
        raise BuildError(
            f"{' and '.join(tried)} not on PATH, so no image can be built; install one, or give docker_image"
        )
    return found


def _succeeds(command: Sequence[str]) -> bool:
    return not subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
