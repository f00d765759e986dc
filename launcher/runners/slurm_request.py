"""What Slurm is asked, from leases alone: sbatch's options of a run, and the job script of the runs that share them, as
values that can be printed. `slurm` calls it, and submits what comes of it."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from launcher.errors import RunnerError
from launcher.item import Lease
from launcher.paths import RunPaths
from launcher.resources import Resources
from launcher.runners import node
from launcher.runners.engines import NodeRequest, node_request
from launcher.runners.environment import macros
from launcher.template import MACRO, fill

OWN = ("at_once", "env", "extra", "modules", "pack", "python", "setup", "srun")
"""Arguments that are no option of sbatch."""

OURS = (
    "array", "chdir", "clusters", "comment", "error", "help", "input", "open-mode", "output", "parsable", "quiet",
    "test-only", "usage", "version", "wait", "wrap",
)  # fmt: skip
"""Options of sbatch that this module needs for itself."""

INSTEAD = {
    "cpus-per-task": ("cpus-per-task", "cpus-per-gpu", "exclusive"),
    "mem": ("mem", "mem-per-cpu", "mem-per-gpu"),
    "gres": ("gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task"),
    "time": ("time",),
    "nice": ("nice",),
    "requeue": ("requeue", "no-requeue"),
    "job-name": ("job-name",),
    "export": ("export", "export-file"),
}
"""Options that we give, and those of a spec that each gives way to."""

NICE = (0, 100, 200, 300)
"""sbatch's --nice for the priorities critical, high, medium and low: users may only lower theirs."""

UNTOLD = re.compile(r"[\\\n\r\t]")
"""What no folder's name may have: sbatch replaces nothing in paths with a backslash, and reads options by the line."""

OPTION = re.compile(r"--[a-z][a-z0-9-]*|-[a-zA-Z]")
MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class SlurmRequest(NodeRequest):
    """A run of a job array. Runs that share `directives` (options of sbatch) and `setup` (lines of shell) share an
    array; `pack` of them share an allocation, in which `at_once` run at a time."""

    directives: tuple[str, ...]
    setup: tuple[str, ...]
    python: str
    pack: int
    at_once: int

    @property
    def kind(self) -> tuple[Any, ...]:
        """Equal for the runs that may share an array."""
        return self.directives, self.setup, self.python, self.pack, self.at_once


@dataclass(frozen=True, slots=True)
class SlurmBatch:
    """A job array: the runs in it, all of one kind, and the folder that tells the nodes which they are."""

    folder: Path
    requests: Sequence[SlurmRequest]

    @property
    def count(self) -> int:
        """How many tasks the array has."""
        return math.ceil(len(self.requests) / self.requests[0].pack)

    def place(self, number: int) -> int:
        """The task that runs the request with this number, both from 0."""
        return number // self.requests[0].pack

    def tasks(self) -> str:
        """Which folders each task is about, a line each."""
        pack = self.requests[0].pack
        starts = range(0, len(self.requests), pack)
        return "".join(
            "\t".join(str(request.folder) for request in self.requests[start : start + pack]) + "\n" for start in starts
        )

    def leases(self) -> str:
        """Whose runs these are, a line each with its task, for whoever finds the job and not its agent."""
        return "".join(
            f"{self.place(number)}\t{request.folder}\t{request.token}\n" for number, request in enumerate(self.requests)
        )

    def script(self) -> str:
        """The job script: what sbatch reads.

        >>> print(batch.script())  # doctest: +SKIP
        #!/bin/bash
        #SBATCH --array=0-1
        …
        """
        first = self.requests[0]
        ours = (
            f"array=0-{self.count - 1}", f"chdir={self.folder}", f"comment={mark(self.folder)}",
            f"output={str(self.folder).replace('%', '%%')}/%a.log", "open-mode=append",
        )  # fmt: skip
        command = [first.python, "-I", "-S", node.__file__, str(self.folder / "tasks")]
        lines = [
            "#!/bin/bash",
            *(f"#SBATCH {_quoted(f'--{option}')}" for option in ours),
            *(f"#SBATCH {directive}" for directive in first.directives),
            "set -e",
            *first.setup,
            f'exec {shlex.join(command)} "$SLURM_ARRAY_TASK_ID" {first.at_once}',
        ]
        return "\n".join(lines) + "\n"


def mark(folder: Path) -> str:
    """The comment by which jobs of ours are known."""
    return f"launcher:{folder}"


def batches(requests: Sequence[SlurmRequest], most: int) -> Iterator[list[SlurmRequest]]:
    """The requests in arrays of at most `most` tasks, each of one kind, in the order of their first runs."""
    kinds: dict[tuple[Any, ...], list[SlurmRequest]] = {}
    for request in requests:
        kinds.setdefault(request.kind, []).append(request)
    for alike in kinds.values():
        step = most * alike[0].pack
        for start in range(0, len(alike), step):
            yield alike[start : start + step]


def slurm_request(lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str]) -> SlurmRequest:
    """See `Runner.request`."""
    if UNTOLD.search(str(paths.root)):
        raise RunnerError(
            f"the folder {str(paths.root)!r} has a backslash, tab or line break in its name, with which sbatch cannot "
            "be told of it; give the agent another --dir",
            "prepare",
        )
    given = (lease.document.get("resource_args") or {}).get("slurm") or {}
    general = node_request(lease, paths, code, environ, given)
    _refuse(given, lease.document.get("secrets") or ())
    arguments: dict[str, Any] = fill({key: given[key] for key in given if key != "env"}, macros(lease), environ)
    pack = int(arguments.get("pack", 1))
    at_once = min(int(arguments.get("at_once", 1)), pack)
    options = {name: value for name, value in arguments.items() if name not in OWN}
    if "signal" in options and not str(options["signal"]).startswith(("B:", "R:")):
        options["signal"] = f"B:{options['signal']}"  # the node's program hears it, and tells its runs
    options = _general(lease, given, math.ceil(pack / at_once), at_once) | options
    if srun := arguments.get("srun"):
        argv = ("srun", *(() if srun is True else map(str, srun)), *general.argv)
    else:
        argv = general.argv
    values = {field.name: getattr(general, field.name) for field in fields(NodeRequest)} | {"argv": argv}
    loading = [f"module load {shlex.quote(name)}" for name in arguments.get("modules") or ()]
    return SlurmRequest(
        **values, directives=(*_flags(options), *arguments.get("extra", ())),
        setup=(*loading, *arguments.get("setup", ())), python=arguments.get("python") or sys.executable,
        pack=pack, at_once=at_once,
    )  # fmt: skip


def _general(lease: Lease, given: Mapping[str, Any], rounds: int, at_once: int) -> dict[str, Any]:
    """Options for what a spec says in no engine's words, but for those that it says in sbatch's, too."""
    asked = Resources.of(lease.document)
    model = f":{asked.gpu_type}" if asked.gpu_type else ""
    told = {
        "job-name": re.sub(r"[^\w.-]+", "-", f"launcher-{lease.item.sweep or lease.item.queue}"),
        "cpus-per-task": asked.cpus and math.ceil(asked.cpus * at_once),
        "mem": asked.memory and f"{math.ceil(asked.memory * at_once / MEBIBYTE)}M",
        "gres": f"gpu{model}:{math.ceil(asked.gpus * at_once)}" if asked.gpus else None,
        "time": math.ceil(asked.time * rounds / 60) if asked.time else None,
        "nice": NICE[lease.item.priority] or None,
        "requeue": True,
        "export": "ALL",
    }
    said = {name for name, value in given.items() if value not in (None, False)} | set(_extra_names(given))
    return {name: value for name, value in told.items() if value is not None and said.isdisjoint(INSTEAD[name])}


def _refuse(given: Mapping[str, Any], secrets: Sequence[str]) -> None:
    """RunnerError for options that we need ourselves, for what no line can hold, and for what would show a secret."""
    for option in given.get("extra") or ():
        if not OPTION.match(str(option)):
            raise RunnerError(
                f"resource_args.slurm.extra has {option!r}, which is no option of sbatch; expected one as "
                "--constraint=a100",
                "prepare",
            )
    for name in (*given, *_extra_names(given)):
        if name in OURS:
            raise RunnerError(
                f"resource_args.slurm.{name} is launcher's own to give; remove it (a run's output is in its log)",
                "prepare",
            )
    for name, value in given.items():
        if name != "env" and (shown := [macro for macro in MACRO.findall(str(value)) if macro in secrets]):
            raise RunnerError(
                f"resource_args.slurm.{name} would show the secret {shown[0]} in the job script; give it as env",
                "prepare",
            )
        if name not in ("env", "setup") and any("\n" in str(one) for one in (value if name == "extra" else [value])):
            raise RunnerError(f"resource_args.slurm.{name} has a line break, which no option can hold", "prepare")


def _extra_names(given: Mapping[str, Any]) -> list[str]:
    return [re.split(r"[=\s]", str(option))[0].removeprefix("--") for option in given.get("extra") or ()]


def _flags(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if value is True:
            yield f"--{name}"
        elif value is not None and value is not False:
            yield _quoted(f"--{name}={value}")


def _quoted(text: str) -> str:
    """As sbatch reads its lines: a word with spaces is quoted."""
    return shlex.quote(text) if re.search(r"[\s'\"#\\]", text) else text
