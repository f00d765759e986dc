"""Jobs in W&B's form and in ours: the file `wandb-job.json` of a job's artifact, and a version of a job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from launcher.errors import UsageError
from launcher.item import JobVersion
from launcher.sources.pinning import COMMIT
from launcher.spec import Source

JOB_FILE = "wandb-job.json"
REQUIREMENTS = "requirements.frozen.txt"
ANYTHING = {"wb_type": "typedDict", "params": {"type_map": {}}}
SOURCE_TYPES = {"image": "image", "git": "repo", "code": "repo"}


def job_files(version: JobVersion) -> dict[str, bytes]:
    """The files of the artifact that stands for a version of ours."""
    source: dict[str, Any] = {"entrypoint": list(version.entry_point), "notebook": False}
    files = {}
    if version.kind == "image":
        source = {"image": version.source["docker"]["docker_image"]}
    else:
        code = Source.of(version.source)
        source["git"] = {"remote": code.repo or code.folder, "commit": code.commit}
        files[REQUIREMENTS] = b""
    told = {
        "_version": "v0", "source_type": SOURCE_TYPES[version.kind], "source": source, "runtime": None,
        "input_types": ANYTHING, "output_types": ANYTHING,
    }  # fmt: skip
    return {JOB_FILE: json.dumps(told, indent=2).encode(), **files}


def as_job(name: str, told: Mapping[str, Any], *, author: str, digest: str, metadata: Mapping[str, Any]) -> JobVersion:
    """A version of ours from W&B's file. Code that lies in an artifact stays there: W&B's agents fetch it.

    Raises UsageError for a file that names no source.
    """
    source, kind = told.get("source"), told.get("source_type")
    if not isinstance(source, dict):
        raise UsageError(f"{JOB_FILE} names no source")
    command = source.get("entrypoint") or []
    if not isinstance(command, list):
        raise UsageError(f"{JOB_FILE}: source.entrypoint is {command!r:.80}, expected a list of words")
    entry_point = tuple(map(str, command))
    schemas = metadata.get("input_schemas")
    inputs = schemas.get("@wandb.config") if isinstance(schemas, dict) else None
    inputs = inputs if isinstance(inputs, dict) else {}
    mark = {"artifact": digest}  # the same file is the same version
    if kind == "image" and isinstance(source.get("image"), str):
        return JobVersion(
            name, "image", {"docker": {"docker_image": source["image"]}, **mark}, entry_point, inputs, author
        )
    git = source.get("git")
    if kind == "repo" and isinstance(git, dict) and COMMIT.fullmatch(str(git.get("commit"))):
        code = Source(repo=str(git.get("remote")), commit=str(git["commit"]))
        return JobVersion(name, "git", {**code.fields(), **mark}, entry_point, inputs, author)
    if kind == "artifact" and isinstance(source.get("artifact"), str):
        return JobVersion(name, "code", mark, entry_point, inputs, author)
    raise UsageError(f"{JOB_FILE} is of source type {kind!r}; expected image, repo (with a whole commit) or artifact")
