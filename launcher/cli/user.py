"""`launcher user`: who may use `launcher serve`."""

from __future__ import annotations

import click

from launcher.cli.printing import echo_json, echo_table, moment
from launcher.cli.targets import json_option, opened, store_option


@click.group()
def user() -> None:
    """Add, list and revoke the users of `launcher serve`, and their API keys."""


@user.command()
@click.argument("name")
@click.option(
    "--entity", "entities", multiple=True, metavar="ENTITY[:ROLE]",
    help="An entity, and the role there: viewer, member (default) or admin. Repeatable; the first one is where things "
    "go that name none. (Default: admin of an entity of that name.)",
)  # fmt: skip
@store_option
def add(name: str, entities: tuple[str, ...], store: str | None) -> None:
    """Add a user, and print the API key: only now, for only a hash of it is stored.

    \b
    launcher user add ann --entity vision:admin --entity lab
    """
    from launcher.server.access import add_user, parse_roles

    roles = parse_roles(entities, name)
    with opened(store) as target:
        key = add_user(target, name, roles)
    click.echo(f"user {name} added: " + ", ".join(f"{role} of {entity}" for entity, role in roles.items()), err=True)
    click.echo(key)


@user.command("list")
@store_option
@json_option
def list_users(store: str | None, as_json: bool) -> None:
    """List the users, and their roles."""
    from launcher.server.access import users

    with opened(store, make=False) as target:
        found = sorted(users(target).values(), key=lambda each: each.name)
    if as_json:
        echo_json(found)
        return
    rows = [
        (each.name, ", ".join(f"{entity}:{role}" for entity, role in each.roles.items()), moment(each.created_at))
        for each in found
    ]
    echo_table("", ["USER", "ENTITIES", "ADDED"], rows)


@user.command()
@click.argument("name")
@store_option
def revoke(name: str, store: str | None) -> None:
    """Forget a user: the key opens nothing any more, within a second on a running server."""
    from launcher.server.access import revoke as forget

    with opened(store) as target:
        forget(target, name)
    click.echo(f"user {name} revoked")
