"""``meshwg-coordinator apitoken``: what lets programs administer the mesh."""

from typing import Any

import click

from coordinator.administration.models import API_TOKEN_LIFETIME
from coordinator.administration.rights import Role, Scope
from coordinator.cli.common import (
    administration_options,
    echo_fitted,
    echo_json,
    json_option,
    run,
    time_text,
)
from coordinator.cli.desk import Record, open_desk
from coordinator.mesh.apitokens import PREFIX, ApiTokenText
from meshwg.cli.secrets import read_secret

HEAD = ("ID", "NAME", "STATE", "MAY", "EXPIRES", "BY")


@click.group()
def apitoken() -> None:
    """Make, list and revoke tokens of the REST interface."""


@apitoken.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([each.value for each in Role if each is not Role.MEMBER]),
    help="All that this role may do.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([each.value for each in Scope]),
    metavar="SCOPE",
    help="Something it may do, as nodes:read; also beside a role.",
)
@click.option(
    "--expires", default=API_TOKEN_LIFETIME, show_default=True, metavar="TIME"
)
@administration_options
@json_option
def create(
    name: str,
    role: str | None,
    scopes: tuple[str, ...],
    expires: str,
    as_json: bool,
    **where: Any,
) -> None:
    """Print a new token for a program; NAME says what it is for."""
    wanted = {
        "name": name,
        "role": role,
        "scopes": list(dict.fromkeys(scopes)),
        "expires": expires,
    }

    async def store_and_print() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("create-api-token", body=wanted)
        if as_json:
            echo_json(answer)
        else:
            click.echo(answer["token"])

    run(store_and_print())


@apitoken.command("list")
@administration_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show all API tokens, without their secrets."""

    async def show() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("list-api-tokens")
        if as_json:
            echo_json(answer)
            return
        rows = [_row(each) for each in answer["api_tokens"]]
        short = [(*row[:3], row[4]) for row in rows]
        head = (*HEAD[:3], HEAD[4])
        echo_fitted([(HEAD, rows), (head, short)], "There are no API tokens yet.")

    run(show())


@apitoken.command()
@click.argument("token_id", metavar="ID")
@administration_options
@json_option
def revoke(token_id: str, as_json: bool, **where: Any) -> None:
    """Make a token useless. ID is its number, or the whole token, @FILE or -."""
    number = read_secret(token_id, "API token").lower()
    if number.startswith(PREFIX):
        number = _number_in(number)

    async def store() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("revoke-api-token", number=number)
        if as_json:
            echo_json(answer)
        else:
            click.echo(f"API token {number} is revoked.")

    run(store())


def _number_in(token: str) -> str:
    """Return the number of a token; of what is none, the text, which nobody has."""
    try:
        return ApiTokenText.parse(token).number
    except ValueError:
        return token


def _row(token: Record) -> tuple[str, ...]:
    may = " ".join(filter(None, (token["role"], *token["scopes"])))
    return (
        token["id"],
        token["name"],
        token["state"],
        may,
        time_text(token["expires"]),
        token["by"],
    )
