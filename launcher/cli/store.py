"""`launcher store`: looking after the store: its version, its health, a copy of it."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

import click

from launcher.cli.printing import amount, echo_json
from launcher.cli.targets import json_option, opened, store_option
from launcher.errors import LaunchError, UsageError
from launcher.item import RunState
from launcher.queues import open_schema
from launcher.settings import store_url
from launcher.written import remember_written


@click.group()
def store() -> None:
    """Look after the store: version, size, health, backup."""


@store.command()
@store_option
@json_option
def info(store: str | None, as_json: bool) -> None:
    """Print where the store is, its kind, version and size, and how many items it has."""
    with opened(store, as_is=True) as target:
        version, newest = target.version()
        size = target.size()
        tally: Counter[RunState] = Counter()
        for count in target.counts():
            tally[count.state] += count.number
        url = target.url
    items = {state.value: tally[state] for state in RunState}
    if as_json:
        kind = url.partition("://")[0]
        echo_json({"store": url, "kind": kind, "version": version, "newest": newest, "bytes": size, "items": items})
        return
    older = "" if version == newest else f" of {newest}; bring it up to date: launcher store migrate"
    click.echo(f"store    {url}\nversion  {version}{older}\nsize     {amount(size)}")
    click.echo(f"items    {', '.join(f'{number:,} {state}' for state, number in items.items() if number) or 'none'}")


@store.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--sql", is_flag=True, help="Only print the SQL that would do it.")
@store_option
def migrate(dry_run: bool, sql: bool, store: str | None) -> None:
    """Bring the store to the version of this launcher, all or nothing; stop the agents of older ones first."""
    from launcher.queues import migration

    if dry_run and sql:
        raise UsageError("--dry-run and --sql both write nothing; give one of them")
    only_told = dry_run or sql
    with open_schema(store_url(store), read_only=only_told) as schema:
        done = migration.plan(schema) if only_told else migration.migrate(schema)
        if sql:
            click.echo(migration.as_sql(schema, done) if done.scripts else f"-- version {done.after}: nothing to do")
            return
        name = schema.name
    if not done.scripts:
        click.echo(f"store {name} has version {done.after}, the newest; nothing to do")
        return
    click.echo(f"store {name}: version {done.before} → {done.after}" + " (--dry-run: nothing is written)" * dry_run)
    for script in done.scripts:
        click.echo(f"  {script.name}")


@store.command()
@store_option
@json_option
def check(store: str | None, as_json: bool) -> None:
    """Look for damage: in the file, in the counts of items, in their documents. Exit code 1 if there is any."""
    with opened(store, as_is=True) as target:
        problems = target.check()
        url = target.url
    if as_json:
        echo_json({"store": url, "problems": problems})
    elif not problems:
        click.echo(f"store {url}: all is well")
    if problems:
        told = "\n".join(f"  {line}" for line in problems)
        raise LaunchError(
            f"store {url} is damaged:\n{told}\nput a backup in its place (launcher store backup makes one)"
        )


@store.command()
@click.argument("file", type=click.Path(path_type=Path))
@store_option
def backup(file: Path, store: str | None) -> None:
    """Copy the store into FILE, which must not be there yet, while agents go on."""
    with opened(store, as_is=True) as target:
        target.backup(file.absolute())
        remember_written(target.url, file)
    url = shlex.quote(f"sqlite:///{file.absolute()}")
    click.echo(f"{file} written ({amount(file.stat().st_size)}); use it as --store {url}")
