"""``meshwg-coordinator user``: whom policies may name, and to whom nodes belong."""

from typing import Any

import click

from coordinator.cli.common import (
    database_options,
    echo_fitted,
    echo_json,
    json_option,
    open_mesh,
    run,
    time_text,
)
from coordinator.mesh.operations import AddUser, DisableUser, Operation
from coordinator.mesh.records import user_record


@click.group()
def user() -> None:
    """Add, list and disable users."""


@user.command()
@click.argument("name")
@database_options
@json_option
def add(name: str, as_json: bool, **where: Any) -> None:
    """Let policies and tokens name a user, as alice@example.org."""
    _perform(AddUser(name), name, "is known", as_json, where)


@user.command()
@click.argument("name")
@database_options
@json_option
def disable(name: str, as_json: bool, **where: Any) -> None:
    """End the membership of a user's nodes, until 'user add' and new tokens."""
    _perform(DisableUser(name), name, "is disabled", as_json, where)


@user.command("list")
@database_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show all users."""

    async def show() -> None:
        async with open_mesh(**where) as mesh:
            users = await mesh.store.users()
        if as_json:
            echo_json({"users": [user_record(each) for each in users]})
        else:
            rows = [
                (u.name, "disabled" if u.disabled else "active", time_text(u.added))
                for u in users
            ]
            table = ("NAME", "STATE", "ADDED"), rows
            echo_fitted([table], "There are no users yet.")

    run(show())


def _perform(
    operation: Operation,
    name: str,
    said: str,
    as_json: bool,
    where: dict[str, Any],
) -> None:
    async def store() -> None:
        async with open_mesh(**where) as mesh:
            await mesh.perform(operation)
            users = {each.name: each for each in await mesh.store.users()}
        if as_json:
            echo_json({"user": user_record(users[name])})
        else:
            click.echo(f"{name} {said}.")

    run(store())
