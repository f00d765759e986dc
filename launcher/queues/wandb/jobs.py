"""Jobs on a W&B server, made by W&B's own command line, `wandb job create`: a job is an artifact, and how these are
logged is W&B's to know. A part of the store `wandb`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from launcher.errors import StoreError
from launcher.item import JobVersion
from launcher.queues.sqlite import SqliteStore
from launcher.queues.wandb.client import Client

SECONDS = 600
"""How long the command line may take: it fetches the repository of a git job, and uploads the code of others."""

STYLE = re.compile(r"\x1b\[[0-9;]*m")
MADE = re.compile(r"\bjob: ([^\s,]+/[^\s,]+/[^\s,]+)")
SHOWN_LINES = 15


class WandbJobs:
    """The verbs of a `WandbStore` about jobs and their code."""

    url: str
    _client: Client
    _local: SqliteStore
    jobs: Callable[[str | None], list[JobVersion]]

    def keep_job(self, version: JobVersion, aliases: Collection[str] = ()) -> JobVersion:
        """See `Store.keep_job`: of an image, of a commit of a git remote, or of the code in a folder (kind code, its
        `uri`) as it is now. StoreError, with what W&B's command line says, when that makes none."""
        where = self._where(version)
        entity, project, name = version.name.split("/", 2)
        arguments = ["job", "create", "--entity", entity, "--project", project, "--name", name]
        arguments += [word for alias in aliases for word in ("--alias", alias)]
        if version.kind != "image":
            # It splits this at spaces; each spec has its whole command besides.
            words = takewhile(lambda word: word and not re.search(r"\s", word), version.entry_point)
            arguments += ["--entry-point", " ".join(words)]
        if version.kind == "git":
            arguments += ["--git-hash", version.source["git"]["version"]]
        made = self._made([*arguments, version.kind, where], where)
        return replace(version, name=made.name, number=made.number, aliases=made.aliases)

    def _where(self, version: JobVersion) -> str:
        """What the job is made of, as the command line takes it."""
        git = version.source.get("git") or {}
        if version.inputs:
            raise StoreError(f"store {self.url} cannot check a job's inputs; leave them out")
        if version.kind == "image":
            return str(version.source["docker"]["docker_image"])
        if version.kind == "git" and not git.get("patch") and git.get("repo") == version.source["uri"]:
            if git.get("subdir"):
                raise StoreError(f"store {self.url} cannot make a git job of a folder in {git['repo']}; name its root")
            return str(git["repo"])
        if version.kind == "code" and not git:
            return str(version.source["uri"])
        raise StoreError(f"store {self.url} makes no job of a folder's commit; use: wandb job create code FOLDER")

    def _made(self, arguments: Sequence[str], what: str) -> JobVersion:
        told = self._told(arguments, what)
        found = MADE.search(told)
        if not found:
            lines = [line.removeprefix("wandb: ").strip() for line in told.splitlines()]
            errors = [line.removeprefix("ERROR ") for line in lines if line.startswith("ERROR ")]
            shown = "\n  ".join(errors or list(filter(None, lines))[-SHOWN_LINES:] or ["it told nothing"])
            raise StoreError(f"wandb job create made no job of {what}:\n  {shown}")
        name, _, alias = found[1].partition(":")
        for version in self.jobs(name):
            if alias == f"v{version.number}" or (alias or "latest") in version.aliases:
                return version
        raise StoreError(f"wandb job create made {found[1]} of {what}, which {self._client.base} does not know")

    def _told(self, arguments: Sequence[str], what: str) -> str:
        """What the command line tells, without colours. The key is in its environment only."""
        program = wandb_program()
        with tempfile.TemporaryDirectory(prefix="launcher-wandb-") as folder:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
            environ |= {
                "WANDB_BASE_URL": self._client.base, "WANDB_API_KEY": self._client.key, "WANDB_DIR": folder,
                "WANDB_CACHE_DIR": folder, "WANDB_DATA_DIR": folder, "WANDB_ERROR_REPORTING": "false",
                "GIT_TERMINAL_PROMPT": "0",
            }  # fmt: skip
            try:
                done = subprocess.run(
                    [program, *arguments], env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, text=True, errors="replace", check=False, timeout=SECONDS,
                )  # fmt: skip
            except subprocess.TimeoutExpired as error:
                raise StoreError(f"wandb job create made no job of {what} within {SECONDS} s") from error
            except OSError as error:
                raise StoreError(f"{program} cannot be run: {error.strerror}") from error
        return STYLE.sub("", done.stdout)

    def keep_patch(self, digest: str, content: bytes) -> None:
        """See `Store.keep_patch`: here, until a job is made of it."""
        self._local.keep_patch(digest, content)


def wandb_program() -> str:
    """W&B's command line: on PATH, else beside this Python. StoreError where there is none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    found = shutil.which("wandb", path=path)
    if not found:
        raise StoreError(
            "a W&B server takes code as a job, which W&B's command line makes, and wandb is not on PATH; "
            "pip install 'launcher[wandb]', or name a job or docker_image that is there"
        )
    return found
