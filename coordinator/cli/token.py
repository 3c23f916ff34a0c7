"""``meshwg-coordinator token``: join tokens."""

from typing import Any

import click

from coordinator.administration.problems import Trouble
from coordinator.cli.common import (
    administration_options,
    echo_fitted,
    echo_json,
    identity_text,
    json_option,
    run,
    time_text,
)
from coordinator.cli.desk import Record, open_desk, refused
from coordinator.mesh.authkeys import DEFAULT_LIFETIME, MAX_USES, parse_lifetime
from meshwg.cli.secrets import read_secret
from meshwg.errors import MeshError
from meshwg.wire.token import JoinToken


@click.group()
def token() -> None:
    """Make, list and revoke join tokens."""


@token.command()
@click.option("--reusable", is_flag=True, help="For any number of nodes.")
@click.option(
    "--uses",
    type=click.IntRange(1, MAX_USES),
    metavar="N",
    help="For at most so many nodes.",
)
@click.option("--ephemeral", is_flag=True, help="Nodes are removed after they leave.")
@click.option("--hub", is_flag=True, help="Nodes may be hubs, if they want to.")
@click.option("--expires", default=DEFAULT_LIFETIME, show_default=True, metavar="TIME")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="What nodes are, to policies."
)
@click.option("--owner", default="", metavar="USER", help="Whose the nodes are.")
@click.option(
    "--url",
    multiple=True,
    metavar="URL",
    help="The coordinator's URL, if not the usual one; once for each coordinator.",
)
@administration_options
@json_option
def create(
    reusable: bool,
    uses: int | None,
    ephemeral: bool,
    hub: bool,
    expires: str,
    tags: tuple[str, ...],
    owner: str,
    url: tuple[str, ...],
    as_json: bool,
    **where: Any,
) -> None:
    """Print a new join token, for 'meshwg join'."""
    parse_lifetime(expires)
    wanted = {
        "reusable": reusable,
        "uses": uses,
        "ephemeral": ephemeral,
        "hub": hub,
        "expires": expires,
        "owner": owner,
        "tags": list(tags),
        "urls": list(url),
    }

    async def store_and_print() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("create-token", body=wanted)
        if as_json:
            echo_json(answer)
        else:
            click.echo(answer["token"])

    run(store_and_print())


@token.command("list")
@administration_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show all join tokens, without their secrets."""

    async def show() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("list-tokens")
        if as_json:
            echo_json(answer)
        else:
            _echo_tokens(answer["tokens"])

    run(show())


@token.command()
@click.argument("token_id", metavar="ID")
@administration_options
@json_option
def revoke(token_id: str, as_json: bool, **where: Any) -> None:
    """Make a token useless. ID is its number, or the whole token, @FILE or -."""
    token_id = read_secret(token_id, "token")
    number = token_id
    if token_id.startswith("mwg"):
        number = JoinToken.parse(token_id).auth_key.number
    missing = f"There is no token {number}; 'meshwg-coordinator token list' shows all"

    async def store() -> None:
        async with open_desk(**where) as desk:
            try:
                answer = await desk.ask("revoke-token", number=number.lower())
            except MeshError as error:
                raise refused(error, missing, Trouble.UNKNOWN) from None
        if as_json:
            echo_json(answer)
        else:
            click.echo(f"Token {number} is revoked; nodes that have joined stay.")

    run(store())


def _echo_tokens(tokens: list[Record]) -> None:
    head = ("ID", "STATE", "KIND", "USES", "CREATED", "EXPIRES")
    rows = [_row(each) for each in tokens]
    named = [(*_row(each), _nodes(each)) for each in tokens]
    tables = [
        *([((*head, "NODES"), named)] if any(map(_is_named, tokens)) else []),
        (head, rows),
        (head, [(*row[:4], row[4].partition(" ")[0], row[5]) for row in rows]),
        ((*head[:3], head[5]), [(*row[:3], row[5]) for row in rows]),
    ]
    echo_fitted(tables, "There are no tokens yet.")


def _row(key: Record) -> tuple[str, ...]:
    kind = "reusable" if key["reusable"] else "single"
    if key["ephemeral"]:
        kind += ", ephemeral"
    if key["hub"]:
        kind += ", hub"
    most = key["max_uses"]
    return (
        key["id"],
        key["state"],
        kind,
        str(key["uses"]) if most is None else f"{key['uses']} of {most}",
        time_text(key["created"]),
        time_text(key["expires"]),
    )


def _nodes(key: Record) -> str:
    """Return what the nodes are that a token lets in."""
    return identity_text(key["owner"] or "", key["tags"])


def _is_named(key: Record) -> bool:
    """Tell whether a token says what nodes are."""
    return bool(key["owner"] or key["tags"])
