"""`launcher job`: create jobs of git commits, folders and images; list and show them; name their versions."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from launcher.cli.grid import HydraCommand
from launcher.cli.printing import code, echo_json, echo_table, moment
from launcher.cli.targets import json_option, opened, store_option
from launcher.errors import UsageError
from launcher.item import JobVersion
from launcher.jobs import checked_aliases, checked_inputs, completed, find_version, inferred_inputs, new_name, of_code
from launcher.making import keeping
from launcher.provenance import login
from launcher.queues import Store
from launcher.sources import DIRTY
from launcher.spec import Source
from launcher.yaml_text import read_yaml, yaml_text


@click.group()
def job() -> None:
    """Create, list and show jobs: code or an image, and the command in it, in numbered versions."""


@job.group()
def create() -> None:
    """Create a version of a job; the same content is one version."""


def _home_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name in ("project", "entity"):
        names = tuple(f"{prefix}_{name.upper()}" for prefix in ("LAUNCHER", "WANDB"))
        text = f"The {name} of jobs that are named without (default: {', '.join(names)}"
        text += ", your login)." if name == "entity" else ")."
        function = click.option(f"--{name}", metavar="NAME", envvar=names, default="", help=text)(function)
    return function


def _content_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed([
        click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Another name of the version, as best."),
        click.option("--inputs", metavar="FILE", help="A JSON Schema for its runs' configs, as JSON or YAML."),
        click.option("--inputs-of", metavar="FILE", help="A config, YAML: its runs' values must be of such types."),
    ]):  # fmt: skip
        function = option(function)
    return click.pass_obj(_home_options(store_option(json_option(function))))


@create.command(cls=HydraCommand)
@click.argument("name")
@click.argument("uri", default=".")
@click.option("--version", metavar="REV", help="Branch, tag or commit (default: HEAD).")
@click.option("--dirty", type=click.Choice(DIRTY), help="What to do with uncommitted changes (default: refuse).")
@_content_options
def git(command: list[str] | None, name: str, uri: str, version: str | None, dirty: str | None, **given: Any) -> None:
    """Create a job of a git commit: of a remote, or of the repository that a folder is in.

    \b
    launcher job create git train https://host/team/code.git --version v1.2 -- python train.py
    """
    _create_of_code(command, name, "git", uri, version, dirty, given)


@create.command("code", cls=HydraCommand)
@click.argument("name")
@click.argument("folder", default=".")
@click.option("--dirty", type=click.Choice(DIRTY), help="What to do with uncommitted changes (default: include).")
@_content_options
def code_job(command: list[str] | None, name: str, folder: str, dirty: str | None, **given: Any) -> None:
    """Create a job of a folder in git as it is now, uncommitted changes included.

    \b
    launcher job create code train . -- python train.py
    """
    _create_of_code(command, name, "code", folder, None, dirty, given)


@create.command(cls=HydraCommand)
@click.argument("name")
@click.argument("docker_image", metavar="IMAGE")
@_content_options
def image(command: list[str] | None, name: str, docker_image: str, **given: Any) -> None:
    """Create a job of an image.

    \b
    launcher job create image train registry.team/train:3 -- python train.py
    """
    made = JobVersion(_name(name, given), "image", {"docker": {"docker_image": docker_image}})
    with opened(given["store"]) as target:
        _keep(target, made, command, given)


def _create_of_code(
    command: list[str] | None, name: str, kind: str, uri: str, version: str | None, dirty: str | None, given: Any
) -> None:
    made, source, patch = of_code(_name(name, given), kind, uri, version=version, dirty=dirty)
    with opened(given["store"]) as target:
        keeping(target)(source, patch)
        _keep(target, made, command, given)


def _keep(target: Store, made: JobVersion, command: list[str] | None, given: dict[str, Any]) -> None:
    from dataclasses import replace

    whole = replace(made, entry_point=tuple(command or ()), inputs=_inputs(given), author=_user())
    before = {version.number for version in target.jobs(made.name)}
    kept = target.keep_job(whole, checked_aliases(given["aliases"]))
    if given["as_json"]:
        echo_json(_told(kept))
    elif kept.number in before:
        click.echo(f"job {kept.reference} has this content already; it is latest")
    else:
        click.echo(f"job {kept.reference} created ({_what(kept)})")


def _user() -> str:
    return os.environ.get("WANDB_USERNAME") or login()


def _name(name: str, given: dict[str, Any]) -> str:
    checked_aliases(given["aliases"])
    return new_name(name, given["entity"] or _user(), given["project"])


def _inputs(given: dict[str, Any]) -> dict[str, Any]:
    if given["inputs"] and given["inputs_of"]:
        raise UsageError("--inputs and --inputs-of exclude each other; give one of them")
    if given["inputs"]:
        return checked_inputs(_read(given["inputs"]), given["inputs"])
    if given["inputs_of"]:
        config = _read(given["inputs_of"])
        if not isinstance(config, dict):
            raise UsageError(f"{given['inputs_of']} holds {type(config).__name__}, expected a config, a mapping")
        return inferred_inputs(config)
    return {}


def _read(file: str) -> Any:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    return read_yaml(text, file)


@job.command("list")
@store_option
@json_option
def list_jobs(store: str | None, as_json: bool) -> None:
    """List all jobs, each with its latest version."""
    with opened(store, read_only=True, make=False) as target:
        newest = [version for version in target.jobs() if "latest" in version.aliases]
    _print(newest, as_json)


@job.command()
@click.argument("name")
@_home_options
@store_option
@json_option
def versions(name: str, entity: str, project: str, store: str | None, as_json: bool) -> None:
    """List the versions of a job, oldest first."""
    with opened(store, read_only=True, make=False) as target:
        found = _found(target, name, entity, project)
        _print(target.jobs(found.name), as_json)


@job.command()
@click.argument("reference", metavar="NAME[:ALIAS]")
@_home_options
@store_option
@json_option
def show(reference: str, entity: str, project: str, store: str | None, as_json: bool) -> None:
    """Show one version of a job, by default its latest."""
    with opened(store, read_only=True, make=False) as target:
        found = _found(target, reference, entity, project)
    if as_json:
        echo_json(_told(found))
        return
    click.echo(
        yaml_text({name: value for name, value in _told(found).items() if name != "created_at" and value}), nl=False
    )
    click.echo(f"# created {moment(found.created_at)}")


@job.command()
@click.argument("reference", metavar="NAME[:ALIAS]")
@click.argument("aliases", nargs=-1, required=True, metavar="ALIAS...")
@_home_options
@store_option
def alias(reference: str, aliases: tuple[str, ...], entity: str, project: str, store: str | None) -> None:
    """Give a version of a job other names; each names one version at a time.

    \b
    launcher job alias train:v3 best
    """
    with opened(store) as target:
        found = _found(target, reference, entity, project)
        target.alias_job(found.name, found.number, checked_aliases(aliases))
    click.echo(f"job {found.reference} is {', '.join(aliases)}")


def _found(store: Store, reference: str, entity: str, project: str) -> JobVersion:
    name, alias = completed(reference, entity or _user(), project)
    found = store.jobs(name)
    return find_version(name, alias, found, () if found else sorted({each.name for each in store.jobs()}))


def _print(found: list[JobVersion], as_json: bool) -> None:
    if as_json:
        echo_json([_told(version) for version in found])
        return
    rows = [
        (version.reference, ", ".join(version.aliases), _what(version), moment(version.created_at)) for version in found
    ]
    echo_table("", ["JOB", "ALIASES", "CODE", "CREATED"], rows)


def _told(version: JobVersion) -> dict[str, Any]:
    return {
        "job": version.reference, "aliases": list(version.aliases), "kind": version.kind, "source": version.source,
        "entry_point": list(version.entry_point), "inputs": version.inputs, "author": version.author,
        "created_at": version.created_at,
    }  # fmt: skip


def _what(version: JobVersion) -> str:
    return str(version.source["docker"]["docker_image"]) if version.kind == "image" else code(Source.of(version.source))
