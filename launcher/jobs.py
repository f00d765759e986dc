"""Jobs: code or an image, the command in it, and what may be asked of it, under `entity/project/name` in numbered
versions. `launcher job` makes them; the dispatcher finds the version that a spec means, and lays it into the spec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher import schema
from launcher.errors import NotFoundError, Problem, SourceError, UsageError, suggest
from launcher.item import JobVersion
from launcher.sources import Patch, pin
from launcher.spec import Source

DEFAULT_PROJECT = "uncategorized"  # W&B's
REFERENCE = re.compile(r"(?:(?:([^/:\s]+)/)?([^/:\s]+)/)?([^/:\s]+)(?::([^/:\s]+))?")
NUMBERED = re.compile(r"v(0|[1-9][0-9]*)")
LONGEST_NAME = 128


def completed(reference: str, entity: str, project: str) -> tuple[str, str]:
    """The job's name, entity/project/name, and the alias that a reference means; these parts stand in for missing ones.

    Raises UsageError for what is no reference.

    >>> completed("train", "team", "vision"), completed("other/train:v3", "team", "vision")
    (('team/vision/train', 'latest'), ('team/other/train', 'v3'))
    """
    match = REFERENCE.fullmatch(reference)
    if not match:
        raise UsageError(f"{reference!r} is no job; expected entity/project/name:alias")
    return "/".join([match[1] or entity, match[2] or project or DEFAULT_PROJECT, match[3]]), match[4] or "latest"


def new_name(text: str, entity: str, project: str) -> str:
    """The whole name for a new job; UsageError for one that no reference could name."""
    name, _ = completed(text, entity, project)
    if ":" in text or not name.isprintable() or len(text) > LONGEST_NAME:
        raise UsageError(
            f"job name {text!r} is none; expected [entity/]project/name or a name alone, of at most {LONGEST_NAME} "
            "characters; aliases are given apart"
        )
    return name


def checked_aliases(aliases: Sequence[str]) -> Sequence[str]:
    """The aliases, if each can name a version; UsageError for others, as `vN` and `latest`, which the store gives."""
    for alias in aliases:
        if NUMBERED.fullmatch(alias) or alias == "latest" or not re.fullmatch(r"[^/:\s]{1,64}", alias):
            raise UsageError(f"alias {alias!r} is none; expected a word that is neither latest nor a version, as best")
    return aliases


def find_version(name: str, alias: str, versions: Sequence[JobVersion], names: Sequence[str] = ()) -> JobVersion:
    """The version of a job that an alias means, among its `versions`; `names` are the jobs that there are.

    Raises NotFoundError, which lists what is known.
    """
    if not versions:
        raise NotFoundError(f"no job named {name!r}; {suggest(name, names)}. Create it: launcher job create")
    number = NUMBERED.fullmatch(alias)
    for version in versions:
        if alias in version.aliases or (number and version.number == int(number[1])):
            return version
    known = [
        *(each for version in versions for each in version.aliases),
        *(f"v{each.number}" for each in versions[-9:]),
    ]
    raise NotFoundError(f"{name} has no version {alias!r}; {suggest(alias, known)}")


def lay_job(document: dict[str, Any], version: JobVersion) -> Iterator[Problem]:
    """Give a spec the code and the command of a job's version, if it brings no command of its own; tells what of the
    spec the version does not go with."""
    asked = [name for name in Source.KEYS if document["git"].get(name)]
    if asked:
        yield Problem("git", f"{', '.join(asked)} given, but job {version.reference} has its code pinned; give uri")
    overrides = document["overrides"]
    if version.entry_point and not overrides.get("entry_point"):
        overrides["entry_point"] = list(version.entry_point)
    if document.get("resource") == "local-process":
        if version.kind == "image":
            what = f"{version.reference} is an image, which local-process cannot run; name another resource or queue"
            yield Problem("job", what)
        elif not overrides.get("entry_point") and version.kind != "remote":
            yield Problem("entry_point", f"missing, and job {version.reference} has none; expected the command to run")
    run_config = overrides.get("run_config") or {}
    if version.inputs and isinstance(run_config, Mapping):
        yield from schema.value_problems(run_config, version.inputs, ("overrides", "run_config"))
    document["job"] = version.reference
    for name in ("git", "docker"):
        document[name] = {**document[name], **version.source.get(name, {})}
    if "uri" in version.source:
        document["uri"] = version.source["uri"]


def of_code(
    name: str, kind: str, uri: str, *, version: str | None, dirty: str | None
) -> tuple[JobVersion, Source, Patch | None]:
    """A job of the commit that `uri` and `version` mean now (`kind` git), or of a local folder with its uncommitted
    changes (`kind` code); `dirty` says otherwise about these. Raises SourceError for what cannot be pinned."""
    source, patch = pin(uri, version, dirty=dirty or ("refuse" if kind == "git" else "include"))
    if kind == "code" and not source.folder:
        raise SourceError(f"{uri!r} is a git remote, not a folder; use: launcher job create git")
    if not source.commit:
        raise SourceError(f"the code in {source.folder} is in no git repository with a commit; git init, and commit it")
    if kind == "git" and source.repo and not patch:
        source = Source(repo=source.repo, commit=source.commit, subdir=source.subdir, dirty=source.dirty)
    return JobVersion(name, kind, source.fields()), source, patch


def checked_inputs(definition: Any, where: str) -> dict[str, Any]:
    """A JSON Schema for a job's inputs; UsageError where it can check nothing, or leads out of itself."""
    if not isinstance(definition, dict):
        raise UsageError(f"{where} holds {type(definition).__name__}, expected a JSON Schema, an object")
    if foreign := next((ref for ref in _references(definition) if not ref.startswith("#")), None):
        raise UsageError(f"{where}: $ref {foreign!r} leads to another document; expected #/… in this one")
    try:
        problem = schema.definition_problem(definition)
    except TypeError as error:  # YAML has dates, JSON has not
        problem = str(error)
    if problem:
        raise UsageError(f"{where} cannot check anything: {problem}")
    return definition


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (str(ref) for name in ("$ref", "$dynamicRef") if (ref := value.get(name)) is not None)
        value = list(value.values())
    for entry in value if isinstance(value, list) else ():
        yield from _references(entry)


def inferred_inputs(config: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Schema that takes values of the types that `config` has; other keys may be there, and none has to be.

    >>> inferred_inputs({"lr": 0.1, "model": {"name": "svm"}, "out": "${model.name}"})["properties"]["model"]
    {'type': 'object', 'properties': {'name': {'type': 'string'}}}
    """
    return {"type": "object", "properties": {str(key): _inferred(value) for key, value in config.items()}}


def _inferred(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return inferred_inputs(value)
    if isinstance(value, str) and ("${" in value or value == "???"):
        return {}  # its type shows when it is resolved
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return {"type": kinds[type(value)]} if type(value) in kinds else {}
