"""What is asked for: launch_add's arguments, the launch spec they become, and the code it runs. Frozen values, no I/O.
The dispatcher builds specs, stores keep them, agents run them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from launcher import canonical
from launcher.errors import UsageError, suggest

DEFAULT_QUEUE = "default"
DEFAULT_PROJECT_QUEUE = "model-registry"

PRIORITIES = {"critical": 0, "high": 1, "medium": 2, "low": 3}
PRIORITY_NAMES = tuple(PRIORITIES)
DEFAULT_PRIORITY = PRIORITIES["medium"]

RESOURCE_ALIASES = {"local": "local-container"}
"""W&B's older names."""

SCHEDULER_URI = "placeholder-uri-scheduler"
"""The `uri` of the scheduler of a sweep of W&B's, a program that agents have: there is no code to be fetched."""

POLICIES = ("retry", "timeout", "limits", "resources", "fingerprint")
"""Fields of a spec that say how its item is treated, not what runs."""

NOT_FINITE = "not_finite"
"""The field of a spec that lists the places in its `run_config` where a text stands for a number that JSON has not, NaN
or an infinity; not there where nothing does."""

CHANGES = ("dirty", "in_place")
"""Words about uncommitted changes to the code, which belong to a spec's `git`."""

VOLATILE = ("run_id", "author", "provenance", "_resume_count", "_traceparent", *POLICIES)
"""Fields of a spec that two runs of the same work may differ in; its fingerprint leaves them out, and what `unseen`
lists."""


NAME = re.compile(r"(?!-)(?!\s*\Z)[^\x00-\x1f\x7f-\x9f]+")


def checked_name(name: Any, what: str) -> str:
    """A sweep's name, as people may give it on a command line. UsageError says `what` it is for others.

    >>> checked_name("rates", "sweep")
    'rates'
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        expected = "expected a text on one line that is not all blank, and does not begin with -"
        raise UsageError(f"{what} name {name!r} is none; {expected}")
    return name


def parse_priority(value: object) -> int:
    """A priority's number, 0 (critical, first) to 3 (low), from its number or its name; UsageError for others.

    >>> parse_priority("high"), parse_priority(3), parse_priority("2")
    (1, 3, 2)
    """
    text = str(value).lower()
    if not isinstance(value, bool):
        if text in PRIORITIES:
            return PRIORITIES[text]
        if text in ("0", "1", "2", "3"):
            return int(text)
    expected = ", ".join(f"{number} ({name})" for name, number in PRIORITIES.items())
    raise UsageError(f"priority {value!r} is unknown; expected one of {expected}")


def policies(values: Mapping[Any, Any]) -> dict[str, Any]:
    """The policies that a mapping names. YAML reads the key of `on: [failed]` as true; it is meant as it is written.

    >>> policies({"name": "a", "retry": {True: ["failed"]}})
    {'retry': {'on': ['failed']}}
    """
    found = {name: values[name] for name in POLICIES if values.get(name) is not None}
    return {
        name: {"on" if key is True else key: value for key, value in policy.items()}
        if isinstance(policy, Mapping)
        else policy
        for name, policy in found.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchArguments:
    """launch_add's arguments by name, None where not given. The contract's table says what each means.

    >>> LaunchArguments(uri=".", entry_point=["python", "train.py"]).given()
    {'uri': '.', 'entry_point': ['python', 'train.py']}
    """

    uri: str | None = None
    job: str | None = None
    config: Mapping[str, Any] | None = None
    template_variables: Mapping[str, Any] | None = None
    project: str | None = None
    entity: str | None = None
    queue_name: str | None = None
    resource: str | None = None
    entry_point: list[str] | None = None
    name: str | None = None
    version: str | None = None
    docker_image: str | None = None
    project_queue: str | None = None
    resource_args: Mapping[str, Any] | None = None
    run_id: str | None = None
    build: bool = False
    repository: str | None = None
    sweep_id: str | None = None
    author: str | None = None
    priority: int | str | None = None

    def given(self) -> dict[str, Any]:
        """The arguments that were given; empty strings count as absent, as they do in W&B."""
        return {
            name: value
            for name in self.__slots__
            if (value := getattr(self, name)) is not None and value is not False and value != ""
        }

    @staticmethod
    def from_mapping(values: Mapping[str, Any], where: str = "launch") -> LaunchArguments:
        """The arguments that a mapping (the `launch` node of a config) names; UsageError for unknown names.

        It may name policies, `dirty` and `in_place` too: these go into `config`, where W&B's signature has room for
        them.

        >>> LaunchArguments.from_mapping({"uri": ".", "retry": {"max_attempts": 5}}).config
        {'retry': {'max_attempts': 5}}
        """
        known = (*LaunchArguments.__slots__, *POLICIES, *CHANGES)
        unknown = [
            f"{where}.{key} is not an argument; {suggest(str(key), known)}" for key in values if key not in known
        ]
        if unknown:
            raise UsageError("\n".join(unknown))
        arguments = {name: value for name, value in values.items() if name not in (*POLICIES, *CHANGES)}
        config = arguments.get("config") or {}
        changes = {name: values[name] for name in CHANGES if values.get(name) is not None}
        if isinstance(config, Mapping):
            git = {"git": {**(config.get("git") or {}), **changes}} if changes else {}
            if named := policies(config) | policies(values) | git:
                arguments["config"] = {**config, **named}
        return LaunchArguments(**arguments)


USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


def redacted(told: str) -> str:
    """`told` without the user names and passwords of its URLs.

    >>> redacted("cannot read https://ann:secret@host/x.git")
    'cannot read https://host/x.git'
    """
    return USERINFO.sub("", told)


@dataclass(frozen=True, slots=True)
class Source:
    """The code that a run executes: a git commit (40 hexadecimal digits) of a `repo`sitory and of the working tree
    `folder`, either of which may be None, with a `patch` over it (by its SHA-256) and the run in its `subdir`; or, with
    `in_place`, a `folder` as it is when the run starts, its commit then being that of the time it was added.

    `dirty`: uncommitted changes lay over the commit that are not part of this source.
    """

    folder: str | None = None
    repo: str | None = None
    commit: str | None = None
    patch: str | None = None
    subdir: str = ""
    dirty: bool = False
    in_place: bool = False

    KEYS: ClassVar = ("repo", "version", "patch", "subdir", "dirty", "in_place")
    """The fields of a spec's `git` that record a source."""

    def fields(self) -> dict[str, Any]:
        """The part of a launch spec that records this source."""
        git = {
            "repo": self.repo, "version": self.commit, "patch": self.patch, "subdir": self.subdir, "dirty": self.dirty,
            "in_place": self.in_place,
        }  # fmt: skip
        return {"uri": self.folder or self.repo, "git": {name: value for name, value in git.items() if value}}

    @staticmethod
    def of(document: Mapping[str, Any]) -> Source:
        """The source that a launch spec records, the inverse of `fields`; without folder and repo for no source."""
        git, uri = document.get("git") or {}, document.get("uri")
        repo = git.get("repo")
        uri = repo if uri == SCHEDULER_URI else uri
        return Source(
            None if repo == uri else uri, repo, git.get("version"), git.get("patch"), git.get("subdir") or "",
            bool(git.get("dirty")), bool(git.get("in_place")),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """A launch spec, `document` (JSON, the shape of schemas/launch_spec.json), and what is sent beside it.

    `point` holds the override strings of the grid's point that it was composed from, if it was.
    """

    document: Mapping[str, Any]
    queue_name: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    point: tuple[str, ...] = field(default=())

    def fingerprint(self) -> str:
        """32 hexadecimal digits, equal for specs that run the same thing in the same queue."""
        return canonical.digest(lasting(self.queue_name, self.document))

    def command(self) -> list[str]:
        """Entry point and arguments; `${run_dir}`, `${config_file}` and other macros are still in it."""
        overrides = self.document.get("overrides", {})
        return [*overrides.get("entry_point", []), *overrides.get("args", [])]


def lasting(queue_name: str, document: Mapping[str, Any]) -> list[Any]:
    """What a fingerprint is the digest of: the queue, and the document but for what may differ."""
    return [queue_name, {key: value for key, value in identifying(document).items() if key not in VOLATILE}]


def identifying(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A launch spec's document, or the part of it that records a source, without what `unseen` lists."""
    for path in unseen(document):
        document = _without(document, path)
    return document


def unseen(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The paths within a document that no fingerprint sees: those that its `fingerprint.ignore` lists, and what says of
    the code in its `uri` where else it is, and what lay over it, which a push or a note beside the code changes.

    >>> unseen({"uri": "/code", "git": {"version": "0" * 40}, "fingerprint": {"ignore": ["overrides.args"]}})
    [('git', 'dirty'), ('git', 'repo'), ('overrides', 'args')]
    """
    known = document.get("uri") not in (None, "", SCHEDULER_URI)
    told = [("git", "dirty"), *([("git", "repo")] if known else [])]
    return [*told, *(tuple(path.split(".")) for path in (document.get("fingerprint") or {}).get("ignore") or ())]


def _without(mapping: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    """`mapping` without what lies at `path`: a copy if it is there; the rest is shared."""
    first, *rest = path
    if first not in mapping:
        return mapping
    copy = dict(mapping)
    if not rest:
        del copy[first]
    elif isinstance(below := copy[first], Mapping):
        copy[first] = _without(below, rest)
    return copy


def composed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The config that a spec's run was composed with, numbers that JSON has not among it: in the spec texts stand for
    them, at the places that it names.

    >>> composed({"overrides": {"run_config": {"lr": {"max": "Infinity"}}}, NOT_FINITE: [["lr", "max"]]})
    {'lr': {'max': inf}}
    """
    config = (document.get("overrides") or {}).get("run_config") or {}
    places = document.get(NOT_FINITE) or ()
    return _with_numbers(config, places) if places else config


def _with_numbers(said: Any, places: Sequence[Sequence[Any]]) -> Any:
    """`said` with a number for the text at each of these places, where such a text is; the rest is shared."""
    if said in ("NaN", "Infinity", "-Infinity"):
        return float(said)
    below: dict[Any, list[Sequence[Any]]] = {}
    for first, *rest in filter(None, places):
        below.setdefault(first, []).append(rest)
    if isinstance(said, list):
        return [_with_numbers(entry, below[index]) if index in below else entry for index, entry in enumerate(said)]
    if isinstance(said, dict):
        return {key: _with_numbers(entry, below[key]) if key in below else entry for key, entry in said.items()}
    return said


def construct(given: Mapping[str, Any], environ: Mapping[str, str], user: str) -> dict[str, Any]:
    """The launch spec's document from launch_add's arguments (`LaunchArguments.given()`, types already checked).

    Every field follows argument > `config` > LAUNCHER_* > WANDB_* in `environ` > default. Nothing of `given` is
    changed, but the document shares its parts.

    >>> construct({"docker_image": "alpine", "project": "p"}, {}, "me")["docker"]
    {'docker_image': 'alpine'}
    """
    document: dict[str, Any] = dict(given.get("config") or {})
    for key in ("docker", "git", "overrides"):
        document[key] = dict(document.get(key) or {})

    def chosen(name: str, value: Any = None) -> Any:
        upper = name.upper()
        value = given.get(name) or document.get(name) or value
        return value or environ.get(f"LAUNCHER_{upper}") or environ.get(f"WANDB_{upper}") or ""

    job = given.get("job") or document.get("job") or ""
    document["entity"] = chosen("entity")
    document["project"] = chosen("project", job.split("/")[-2] if "/" in job else None)
    document["author"] = given.get("author") or document.get("author") or environ.get("WANDB_USERNAME") or user
    document["resource"] = given.get("resource") or document.get("resource")
    for name in ("uri", "job", "name", "run_id", "sweep_id", "resource_args"):
        if given.get(name):
            document[name] = given[name]
    if given.get("template_variables"):
        document["template_variables"] = {**(document.get("template_variables") or {}), **given["template_variables"]}
    if document["resource"] in RESOURCE_ALIASES:
        document["resource"] = RESOURCE_ALIASES[document["resource"]]
    if given.get("docker_image"):
        document["docker"]["docker_image"] = given["docker_image"]
    if given.get("entry_point"):
        document["overrides"]["entry_point"] = list(given["entry_point"])
    if given.get("version"):
        document["git"]["version"] = given["version"]
    if given.get("repository"):
        document["registry"] = {**(document.get("registry") or {}), "url": given["repository"]}
    return document
