"""What a container is started with, from a lease alone: the options that a spec may give, its environment, its mounts
and its command, as a value that can be printed. `local_container` calls it, and starts what comes of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.errors import RunnerError, suggest
from launcher.item import Lease
from launcher.paths import RunPaths
from launcher.resources import Resources
from launcher.runners import Request
from launcher.runners.environment import filled_command, macros, own_environment, run_environment
from launcher.slots import THREADS
from launcher.template import MACRO, MACROS, fill

ALIASES = {"e": "env", "m": "memory", "v": "volume", "w": "workdir", "cpu": "cpus"}
OWN = ("command", "env", "gpus", "init", "name", "rm", "user")
"""Options that are more than a flag of the engine: this module makes of them what they become."""

FLAGS = (
    "cpu-period", "cpu-quota", "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "memory", "memory-reservation",
    "memory-swap", "network", "pids-limit", "platform", "shm-size", "ulimit", "volume", "workdir",
)  # fmt: skip
ALLOWED = frozenset({*ALIASES, *FLAGS, *OWN} - {"user"})
"""What any spec may ask for; an agent may allow more."""

FORWARDED = ("WANDB_BASE_URL", "WANDB_API_KEY")
"""What a run gets from its agent's environment without asking, so that `wandb.init` just works."""

CODE = "/launcher/code"
START = "/launcher/start"
SHELL = "/bin/sh"
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LONGEST_LINE = 60_000
"""Longest line of an env-file, in bytes, that Docker reads."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it is when a run starts: its ID, which never means another one, its digest in a registry, the
    command it has of its own, and the user it runs as."""

    id: str
    digest: str = ""
    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""


@dataclass(frozen=True, slots=True)
class ContainerRequest(Request):
    """A `Request` whose `argv` goes up to the image. `env` lies in a file, `secrets` in another one that the program
    reads at its start and that the engine does not know; neither is ever in `argv`."""

    image: str
    entry_point: tuple[str, ...]
    arguments: tuple[str, ...]
    secrets: Mapping[str, str] = field(repr=False)
    user: str | None
    keep: bool

    def env_file(self) -> str:
        """The environment, a variable a line: what such a file can hold."""
        return "".join(f"{name}={value}\n" for name, value in self.env.items() if _fits(value))

    def beside(self) -> dict[str, str]:
        """The variables that no line can hold: the engine's program hands them on from its own environment."""
        return {name: value for name, value in self.env.items() if not _fits(value)}

    def start_script(self) -> str:
        """What `sh` reads in the container: the secrets, then the command."""
        exports = (f"export {name}={shlex.quote(value)}\n" for name, value in self.secrets.items())
        return "".join([*exports, 'exec "$@"\n'])

    def command_line(self, image: Image) -> list[str]:
        """The whole command that starts it, from this image."""
        entry = self.entry_point or image.entry_point
        rest = [*self.arguments] or ([] if self.entry_point else [*image.command])
        if self.secrets:
            entry, rest = (SHELL,), [START, *entry, *rest]
        entering = [f"--entrypoint={entry[0]}"] if entry else []
        return [*self.argv, *entering, image.id, *entry[1:], *rest]


def _fits(value: str) -> bool:
    return not ("\n" in value or "\r" in value) and len(value.encode()) < LONGEST_LINE


@dataclass(frozen=True, slots=True)
class Engine:
    """What starts containers here: `program` is docker or podman; `user` (uid:gid) is whom the runs' files shall
    belong to, None for an agent that may remove anybody's; `allowed` are options beyond ALLOWED."""

    program: str
    user: str | None = None
    allowed: Collection[str] = ()

    def request(self, lease: Lease, paths: RunPaths, code: str | None, environ: Mapping[str, str]) -> ContainerRequest:
        """See `Runner.request`."""
        given = self._checked((lease.document.get("resource_args") or {}).get("local-container") or {})
        given = _general(Resources.of(lease.document)) | given
        env = _variables(given.pop("env", None), environ)
        own = _forwarded(environ) | own_environment(lease, environ, env)
        private_names = {name for name, value in own.items() if value and _is_private(name, env, environ)}
        told = {name: value for name, value in own.items() if name not in private_names}
        _refuse_secrets(given, lease.document.get("secrets") or ())
        arguments: dict[str, Any] = fill(given, macros(lease), environ)
        if arguments.get("cpus"):
            told = {name: environ[name] for name in THREADS if name in environ} | told
        told = self._home(paths) | told | run_environment(lease, paths)
        secrets = {name: value for name, value in own.items() if name in private_names and name not in told}
        overrides = lease.document.get("overrides") or {}
        entry_point, args = filled_command(lease, paths)
        user = self._user(arguments, lease.document)
        private = paths.private(lease.token)
        argv = [
            self.program, "run", "--detach", "--pull=never",
            f"--name={arguments.get('name') or _name(lease)}",
            f"--label=launcher.item={lease.item.id}",
            f"--label=launcher.token={lease.token}",
            f"--label=launcher.root={paths.root}",
            *(["--label=launcher.keep=true"] if arguments.get("rm") is False else []),
            f"--env-file={private / 'env'}",
            *(f"--env={name}" for name, value in told.items() if not _fits(value)),
            _mount(str(paths.folder), str(paths.folder)),
            *([_mount(str(private / "start"), START, "readonly")] if secrets else []),
            *([_mount(code, CODE, "readonly"), f"--workdir={_below(overrides.get('working_dir'))}"] if code else []),
            *([f"--user={user}"] if user else []),
            *(["--userns=keep-id"] if self.program == "podman" and user and user == self.user else []),
            *(["--init"] if arguments.get("init", self.program == "docker") else []),
            *self._gpus(arguments.get("gpus"), environ),
            *_flags({name: value for name, value in arguments.items() if name not in OWN}),
        ]  # fmt: skip
        return ContainerRequest(
            tuple(argv), told, code or str(paths.folder), str(paths.log), lease.token,
            image=_image(lease.document), entry_point=tuple(entry_point),
            arguments=tuple(args or ([] if entry_point else _words(arguments.get("command")))),
            secrets=secrets, user=user, keep=arguments.get("rm") is False,
        )  # fmt: skip

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options by their long names, all of them allowed."""
        known = ALLOWED.union(self.allowed)
        named: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise RunnerError(
                    f"resource_args.local-container.{name} is not allowed by this agent; start it with "
                    f"--allow-container-option {name} if every run of its queues may have it, or remove it; "
                    f"{suggest(name, known)}",
                    "prepare",
                )
            long = ALIASES.get(name, name)
            if long in named:
                raise RunnerError(f"resource_args.local-container gives {long} twice, once as {name}", "prepare")
            named[long] = value
        return named

    def _user(self, arguments: Mapping[str, Any], document: Mapping[str, Any]) -> str | None:
        chosen = arguments.get("user", (document.get("docker") or {}).get("user_id"))
        return self.user if chosen is None else str(chosen)

    def _home(self, paths: RunPaths) -> dict[str, str]:
        """A user whom the image does not know has no home in it that he could write to."""
        return {"HOME": str(paths.folder)} if self.user else {}

    def _gpus(self, gpus: Any, environ: Mapping[str, str]) -> list[str]:
        """Those that the agent gave the run; a text (all, device=0) as it is."""
        if not gpus:
            return []
        chosen = str(gpus).removeprefix("device=")
        if _is_number(gpus) and environ.get("CUDA_VISIBLE_DEVICES"):
            chosen = environ["CUDA_VISIBLE_DEVICES"]
        elif self.program == "docker":
            return [f"--gpus={gpus}"]
        if self.program == "docker":
            return [f'--gpus="device={chosen}"']
        return [f"--device=nvidia.com/gpu={name}" for name in chosen.split(",")]


def _general(asked: Resources) -> dict[str, Any]:
    """What a spec's `resources` are called here."""
    memory = None if asked.memory is None else round(asked.memory)
    told = {"cpus": asked.cpus, "memory": memory, "gpus": asked.gpus}
    return {name: value for name, value in told.items() if value is not None}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value.replace(".", "", 1).isdigit())


def _variables(given: Any, environ: Mapping[str, str]) -> dict[str, Any]:
    """`env` as W&B takes it (NAME=VALUE, or NAME for the agent's own, one or a list) or as an object."""
    if not isinstance(given, Mapping):
        entries = [str(entry).partition("=") for entry in _listed(given)]
        absent = [name for name, has_value, _ in entries if not has_value and name not in environ]
        if absent:
            raise RunnerError(f"the agent's environment has no {', '.join(absent)}; start the agent with it", "prepare")
        given = {name: value if has_value else f"${{{name}}}" for name, has_value, value in entries}
    for name in given:
        if not NAME.fullmatch(name):
            raise RunnerError(f"env: {name!r} is no name of a variable; expected letters, digits and _", "prepare")
    return dict(given)


def _forwarded(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in FORWARDED if environ.get(name)}


def _is_private(name: str, env: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether a variable is the API key, or has its value from the agent's environment: nothing else can be a
    secret."""
    if name == "WANDB_API_KEY":
        return True
    return any(macro in environ and macro not in MACROS for macro in MACRO.findall(str(env.get(name, ""))))


def _refuse_secrets(arguments: Mapping[str, Any], secrets: Sequence[str]) -> None:
    for name, value in arguments.items():
        if shown := [macro for macro in MACRO.findall(str(value)) if macro in secrets]:
            raise RunnerError(
                f"resource_args.local-container.{name} would show the secret {shown[0]} to whoever may inspect the "
                "container; give it as env",
                "prepare",
            )


def _flags(arguments: Mapping[str, Any]) -> Iterator[str]:
    """As W&B's agent does it: true is the flag alone, a list repeats it."""
    for name, given in arguments.items():
        for value in _listed(given):
            if value is True:
                yield f"--{name}"
            elif value is not False:
                yield f"--{name}={value}"


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def words(command: Any) -> list[str]:
    """The `command` of a container's arguments in words, as a shell splits them; ValueError for one that it would not.

    >>> words("echo 'a b'")
    ['echo', 'a b']
    """
    if not isinstance(command, str):
        return [str(word) for word in _listed(command)]
    try:
        return shlex.split(command)
    except ValueError as error:
        told = f"cannot be split into words as a shell does it: {str(error).lower()}"
        raise ValueError(f"{told}; correct its quotes, or give a list of words") from error


def _words(command: Any) -> list[str]:
    try:
        return words(command)
    except ValueError as error:  # without the text: its macros are filled from the agent's environment
        raise RunnerError(f"resource_args.local-container.command {error}", "prepare") from error


def _name(lease: Lease) -> str:
    return f"launcher-{lease.item.id}-{lease.item.attempt}-{lease.token[:8]}"


def _image(document: Mapping[str, Any]) -> str:
    image = (document.get("docker") or {}).get("docker_image") or document.get("image_uri") or ""
    if not IMAGE.fullmatch(image):
        told = f"{image!r} is no image" if image else "the spec has no docker_image, so there is nothing to start"
        raise RunnerError(f"{told}; expected one as registry/name:tag or name@sha256:…", "prepare")
    return str(image)


def _below(folder: str | None) -> str:
    return f"{CODE}/{folder}" if folder else CODE


def _mount(source: str, target: str, *more: str) -> str:
    """As CSV, which is how it is read: names may hold commas and colons."""
    fields = ["type=bind", f"src={source}", f"dst={target}", *more]
    quoted = ('"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text for text in fields)
    return "--mount=" + ",".join(quoted)
