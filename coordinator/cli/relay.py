"""``meshwg-coordinator relay``: what other relays need to know."""

import os
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import database_options, echo_json, json_option
from coordinator.cli.settings import load_settings
from coordinator.config import CoordinatorConfig
from coordinator.relaysecrets import RelaySecrets
from coordinator.runtime.files import DataDirectory, read_relay_secrets
from meshwg.errors import MeshError


@click.group()
def relay() -> None:
    """Set up relays beside the coordinator's own."""


@relay.command()
@click.argument("host")
@database_options
@json_option
def secret(host: str, as_json: bool, **where: Any) -> None:
    """Print the secret of the relay at HOST, as its URL names it.

    It works at that relay alone: coturn's --static-auth-secret. It shows neither the
    coordinator's own secret nor another relay's.
    """
    text = _secrets(_settings(**where)).of_host(host).decode(errors="replace")
    if as_json:
        echo_json({"host": host, "secret": text})
    else:
        click.echo(text)


def _settings(
    config: Path | None, data_dir: Path | None, database: str | None
) -> CoordinatorConfig:
    return load_settings(config, {"data_dir": data_dir, "database": database})


def _secrets(settings: CoordinatorConfig) -> RelaySecrets:
    directory = DataDirectory(settings.data_dir, os.urandom)
    if not directory.exists:
        raise MeshError(
            f"There is no coordinator in {settings.data_dir} yet; start "
            "'meshwg-coordinator serve' once, or name another --data-dir"
        )
    chosen = read_relay_secrets(settings.turn_secret_file)
    secrets = RelaySecrets(directory.relay_secret(), chosen)
    directory.give_to_owner()
    return secrets
