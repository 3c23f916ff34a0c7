"""``meshwg-coordinator token``: join tokens."""

import os
import time
from pathlib import Path

import click

from coordinator.cli.common import (
    database_options,
    echo_fitted,
    echo_json,
    identity_text,
    json_option,
    open_mesh,
    run,
    time_text,
)
from coordinator.mesh.authkeys import (
    DEFAULT_LIFETIME,
    MAX_USES,
    AuthKey,
    new_auth_key,
    parse_lifetime,
)
from coordinator.mesh.operations import CreateAuthKey, Refused, RevokeAuthKey
from coordinator.mesh.records import auth_key_record
from meshwg.cli.secrets import read_secret
from meshwg.errors import MeshError
from meshwg.wire.token import JoinToken, check_url


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
@database_options
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
    config: Path | None,
    data_dir: Path | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Print a new join token, for 'meshwg join'."""
    text, key = new_auth_key(
        os.urandom,
        reusable=reusable if uses is None else uses > 1,
        limit=uses,
        ephemeral=ephemeral,
        created=time.time(),
        lifetime=parse_lifetime(expires),
        owner=owner,
        tags=tuple(dict.fromkeys(tags)),
        hub=hub,
    )

    async def store_and_print() -> None:
        async with open_mesh(config, data_dir, database) as mesh:
            urls = [check_url(each) for each in url]
            urls = urls or await mesh.store.coordinator_urls()
            if not urls:
                raise MeshError(
                    "The coordinator's address is not known yet; start "
                    "'meshwg-coordinator serve' once, or give --url"
                )
            await mesh.perform(CreateAuthKey(key))
            key_of_mesh = mesh.coordinator_key
            word = str(JoinToken.of_mesh(urls, key_of_mesh, text))
        if as_json:
            echo_json({"token": word, **auth_key_record(key, key.created)})
        else:
            click.echo(word)

    run(store_and_print())


@token.command("list")
@database_options
@json_option
def list_(
    config: Path | None, data_dir: Path | None, database: str | None, as_json: bool
) -> None:
    """Show all join tokens, without their secrets."""

    async def show() -> None:
        async with open_mesh(config, data_dir, database) as mesh:
            keys = await mesh.store.auth_keys()
        now = time.time()
        if as_json:
            echo_json({"tokens": [auth_key_record(key, now) for key in keys]})
        else:
            head = ("ID", "STATE", "KIND", "USES", "CREATED", "EXPIRES")
            rows = [_row(key, now) for key in keys]
            named = [(*_row(key, now), _nodes(key)) for key in keys]
            tables = [
                *([((*head, "NODES"), named)] if any(map(_is_named, keys)) else []),
                (head, rows),
                (head, [(*row[:4], row[4].partition(" ")[0], row[5]) for row in rows]),
                ((*head[:3], head[5]), [(*row[:3], row[5]) for row in rows]),
            ]
            echo_fitted(tables, "There are no tokens yet.")

    run(show())


@token.command()
@click.argument("token_id", metavar="ID")
@database_options
@json_option
def revoke(
    token_id: str,
    config: Path | None,
    data_dir: Path | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Make a token useless. ID is its number, or the whole token, @FILE or -."""
    token_id = read_secret(token_id, "token")
    number = token_id
    if token_id.startswith("mwg"):
        number = JoinToken.parse(token_id).auth_key.number

    async def store() -> None:
        async with open_mesh(config, data_dir, database) as mesh:
            result = await mesh.request(RevokeAuthKey(number.lower()))
        if isinstance(result, Refused):
            raise MeshError(
                f"There is no token {number}; 'meshwg-coordinator token list' shows all"
            )
        assert result.auth_key is not None
        if as_json:
            echo_json(auth_key_record(result.auth_key, time.time()))
        else:
            click.echo(f"Token {number} is revoked; nodes that have joined stay.")

    run(store())


def _row(key: AuthKey, now: float) -> tuple[str, ...]:
    kind = "reusable" if key.reusable else "single"
    if key.ephemeral:
        kind += ", ephemeral"
    if key.hub:
        kind += ", hub"
    return (
        key.number,
        key.state(now),
        kind,
        str(key.uses) if key.max_uses is None else f"{key.uses} of {key.max_uses}",
        time_text(key.created),
        time_text(key.expires),
    )


def _nodes(key: AuthKey) -> str:
    """Return what the nodes are that a token lets in."""
    return identity_text(key.owner, key.tags)


def _is_named(key: AuthKey) -> bool:
    """Tell whether a token says what nodes are."""
    return bool(key.owner or key.tags)
