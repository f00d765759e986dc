"""`launcher show ID --reproduce`: the shell commands that rebuild a run by hand, on any machine that has git and, for
uncommitted changes, the store. They need nothing else of launcher, and `sh` can execute them as they are printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from launcher.analysis.sides import variables
from launcher.canonical import encode
from launcher.cli.printing import label, moment
from launcher.errors import UsageError
from launcher.item import Item, Lease
from launcher.paths import RunPaths
from launcher.provenance import told
from launcher.runners.environment import command, macros, run_environment
from launcher.spec import Source, composed
from launcher.template import MACRO, fill
from launcher.yaml_text import yaml_text

RUN = "\0run"
"""Stands for the rebuilt run's folder, which only the shell knows, in texts of specs: these cannot hold it."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

OF_THE_QUEUE = frozenset({
    "LAUNCHER_LEASE_TOKEN", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_LAUNCH", "WANDB_LAUNCH_QUEUE_NAME",
    "WANDB_LAUNCH_QUEUE_ENTITY", "WANDB_LAUNCH_TRACE_ID", "WANDB_SWEEP_ID", "WANDB_USERNAME",
})  # fmt: skip
"""What tells W&B and the agent which run it is: a rebuilt one is a run of its own."""


def script(item: Item, document: dict[str, Any], store: str) -> str:
    """The commands, with what is to be known before as comments; `store` is the URL of the store that has the patch.

    Raises UsageError for a run whose code is no git repository or folder.
    """
    source = Source.of(document)
    if not (source.folder or source.repo):
        what = document["docker"].get("docker_image") or document.get("job")
        raise UsageError(f"run {item.id} runs {what!r}, which no git commands rebuild; start that with its command")
    lease = Lease(item, "", document)
    paths = RunPaths(Path(RUN))
    name = f"run-{item.id}"
    facts = told(item, document)
    remarks = "\n".join([*_warnings(source, facts), *_about(item, facts)])
    lines = [
        *(f"# {line}" for line in remarks.splitlines()),
        f'mkdir {name} && run="$PWD/{name}"',
        *(_checkout(item, source, store) if source.commit and not source.in_place else ()),
        *_config(document, paths),
        *(f"export {variable}={value}" for variable, value in _environment(lease, paths)),
        f"cd {_quoted(_folder(source, document))}",
        " ".join(map(_quoted, command(lease, paths))),
    ]
    return "\n".join(lines)


def _warnings(source: Source, facts: Mapping[str, Any]) -> Iterator[str]:
    where = f"{source.folder} on {facts['host'] or 'the machine it was added on'}"
    if source.in_place or not source.commit:
        changes = " with uncommitted changes" if source.dirty else ""
        at = f", which was at commit {source.commit}{changes}" if source.commit else ""
        yield f"Its code was not recorded: it ran in place in {where}{at}. Here it is used as it is now."
    elif not source.repo:
        push = f"git -C {shlex.quote(str(source.folder))} push origin {source.commit}:refs/heads/NAME"
        yield f"Commit {source.commit} was in no remote when it was added: these commands work where {where} is."
        yield f"For other machines push it first: {push}"
    if facts["image"]:
        yield f"It ran in a container of {facts['image']}; these commands run it outside, with what is here."
    if source.dirty and not source.in_place:
        yield "Uncommitted changes lay over it that the run did not have."


def _about(item: Item, facts: Mapping[str, Any]) -> Iterator[str]:
    by = f" by {facts['user']} on {facts['host']}" if facts["host"] else ""
    point = f" ({label(item)})" if label(item) else ""
    yield f"run {item.id}{point}, added {moment(item.added_at)}{by}"
    if facts["python"]:
        python, launcher, hydra = facts["python"], facts["launcher"], facts["hydra"]
        yield f"It was added with Python {python}, launcher {launcher} and Hydra {hydra}. An environment like that:"
        yield f"  uv venv --python {python} && uv pip install launcher=={launcher} hydra-core=={hydra}"
        yield f"  python -m venv .venv && .venv/bin/pip install launcher=={launcher} hydra-core=={hydra}"
        yield "and what the code itself needs (its requirements.txt, pyproject.toml or lock file)."


def _checkout(item: Item, source: Source, store: str) -> Iterator[str]:
    commit = shlex.quote(str(source.commit))
    code = 'git -C "$run/code"'
    if source.patch:
        yield "# The next command needs the store; elsewhere, copy there what it prints."
        yield f'launcher show {item.id} --store {shlex.quote(store)} --patch > "$run/changes.patch"'
    yield f'git clone --quiet --no-checkout -- {shlex.quote(str(source.repo or source.folder))} "$run/code"'
    yield f"{code} fetch --quiet origin {commit}"
    yield f"{code} checkout --quiet --detach {commit}"
    if source.patch:
        yield f'{code} apply --index --binary --whitespace=nowarn "$run/changes.patch"'
    yield f"{code} submodule --quiet update --init --recursive"


def _config(document: Mapping[str, Any], paths: RunPaths) -> Iterator[str]:
    """The composed config as a here-document: each line of it has a colon or a space, so none is its end."""
    yield f"cat > {_quoted(str(paths.config))} <<'END_OF_CONFIG'"
    yield f"{yaml_text(composed(document))}END_OF_CONFIG"


def _environment(lease: Lease, paths: RunPaths) -> Iterator[tuple[str, str]]:
    """Variables and their values as the shell reads them. What the spec takes from its agent's environment, secrets
    above all, is a reference still."""
    document = lease.document
    arguments = (document.get("resource_args") or {}).get(document.get("resource")) or {}
    own = fill(variables(arguments), macros(lease), {})
    if key := document.get("_wandb_api_key"):
        own["WANDB_API_KEY"] = key
    for name, value in own.items():
        if NAME.fullmatch(name):  # a shell can have no others
            yield name, _expanded(value if isinstance(value, str) else encode(value))
    for name, value in run_environment(lease, paths).items():
        if name not in OF_THE_QUEUE:
            yield name, _quoted(value)


def _folder(source: Source, document: Mapping[str, Any]) -> str:
    working = document["overrides"].get("working_dir") or ""
    if source.in_place or not source.commit:
        return str(PurePosixPath(source.folder or "", working))
    return str(PurePosixPath(RUN, "code", source.subdir, working))


def _quoted(text: str) -> str:
    """A word of the shell, in which the run's folder is the variable `run`."""
    return '"$run"'.join(shlex.quote(part) if part else "" for part in text.split(RUN)) or "''"


def _expanded(text: str) -> str:
    """A word in which the shell fills each `${NAME}`."""
    words = []
    for place, part in enumerate(re.split(MACRO, text)):
        words.append(f'"${{{part}}}"' if place % 2 else shlex.quote(part) if part else "")
    return "".join(words) or "''"
