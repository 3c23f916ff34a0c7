"""``meshwg-coordinator user``: whom policies may name, and to whom nodes belong."""

from typing import Any

import click

from coordinator.cli.common import (
    administration_options,
    echo_fitted,
    echo_json,
    json_option,
    run,
    time_text,
)
from coordinator.cli.desk import open_desk


@click.group()
def user() -> None:
    """Add, list and disable users."""


@user.command()
@click.argument("name")
@administration_options
@json_option
def add(name: str, as_json: bool, **where: Any) -> None:
    """Let policies and tokens name a user, as alice@example.org."""
    _perform("add-user", name, "is known", as_json, where)


@user.command()
@click.argument("name")
@administration_options
@json_option
def disable(name: str, as_json: bool, **where: Any) -> None:
    """End the membership of a user's nodes, until 'user add' and new tokens."""
    _perform("disable-user", name, "is disabled", as_json, where)


@user.command("list")
@administration_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show all users."""

    async def show() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("list-users")
        if as_json:
            echo_json(answer)
            return
        rows = [
            (
                each["name"],
                "disabled" if each["disabled"] else "active",
                time_text(each["added"]),
            )
            for each in answer["users"]
        ]
        echo_fitted([(("NAME", "STATE", "ADDED"), rows)], "There are no users yet.")

    run(show())


def _perform(
    what: str,
    name: str,
    said: str,
    as_json: bool,
    where: dict[str, Any],
) -> None:
    async def store() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask(what, user=name)
        if as_json:
            echo_json(answer)
        else:
            click.echo(f"{name} {said}.")

    run(store())
