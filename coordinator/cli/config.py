"""``meshwg-coordinator config``: whether a file of settings can be used."""

import json
import os
from pathlib import Path

import click

from coordinator.cli.common import json_option
from coordinator.config import CoordinatorConfig, load
from coordinator.mesh.ipam import choose_networks
from meshwg.errors import ConfigError, MeshError


@click.group()
def config() -> None:
    """Check the server's settings."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def check(file: Path, as_json: bool) -> None:
    """Tell whether 'serve --config FILE' would take these settings.

    Nothing is started or changed. Ends with 2 if they are wrong.
    """
    settings = load(file, {})
    _check_all(settings)
    if as_json:
        click.echo(json.dumps({"schema": 1, "file": str(file), "ok": True}))
    else:
        click.echo(f"{file} is correct.")


def _check_all(settings: CoordinatorConfig) -> None:
    """Look at what the settings name.

    :raises ConfigError: if it cannot be used.
    """
    # Only here, because they import what takes half a second.
    from coordinator.runtime.certificate import load_tls
    from coordinator.runtime.files import read_relay_secrets

    choose_networks(os.urandom, settings.network4, settings.network6)
    try:
        read_relay_secrets(settings.turn_secret_file)
        if settings.tls_cert is not None and settings.tls_key is not None:
            load_tls(str(settings.tls_cert), str(settings.tls_key))
    except MeshError as error:
        raise ConfigError(str(error)) from None
