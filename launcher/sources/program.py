"""The git program, started so that nothing of a repository, or of whoever starts us, makes it do more than it is asked
for: no hooks, no prompts, no protocols beside the listed ones, argument lists only."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from launcher.errors import SourceError
from launcher.spec import redacted

NETWORK = "https:ssh"
PROTOCOLS = f"{NETWORK}:file"
REMOTE = re.compile(r"(https|ssh|file)://|[\w.-]+@[\w.-]+:")
TIMEOUT_SECONDS = 600
ELSEWHERE = frozenset({
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_EXTERNAL_DIFF",
})  # fmt: skip
"""Variables that git sets in its hooks, and that would lead our git to another repository than the one named."""

SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.quotePath=false",
)


def git(
    arguments: Sequence[str | Path],
    *,
    protocols: str = PROTOCOLS,
    environ: Mapping[str, str] | None = None,
    given: bytes = b"",
) -> bytes:
    """What `git ARGUMENTS` prints; it gets `given` on its standard input.

    Raises SourceError, in git's own words but without anybody's credentials, when it fails or is not there.
    """
    settings = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    settings |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": protocols, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    command = ["git", *(word for setting in SETTINGS for word in ("-c", setting)), *map(str, arguments)]
    try:
        done = subprocess.run(
            command, env=settings | dict(environ or {}), input=given, capture_output=True, check=False,
            timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SourceError("the program 'git' is not on PATH; install git") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"git {arguments[0]} did not end within {TIMEOUT_SECONDS} s") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        told = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1])
        raise SourceError(redacted(f"git {' '.join(map(str, arguments))}: {told}"))
    return done.stdout


def text(arguments: Sequence[str | Path], *, protocols: str = PROTOCOLS) -> str:
    """What `git ARGUMENTS` prints, as text without the white space at its end; file names come through unharmed."""
    return os.fsdecode(git(arguments, protocols=protocols)).rstrip()


def passwordless(url: str) -> str:
    """A remote's address without a password, which git's credential helper has where one is needed.

    >>> passwordless("https://ann:secret@host/x.git"), passwordless("ssh://git@host/x.git")
    ('https://host/x.git', 'ssh://git@host/x.git')
    """
    if "://" not in url or urlsplit(url).password is None:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
