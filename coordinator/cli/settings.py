"""The settings of a command: those of the coordinator, with the database's URL."""

from pathlib import Path
from typing import Any

from coordinator.config import CoordinatorConfig, load
from coordinator.dsn import parse_url
from meshwg.cli.secrets import read_secret


def load_settings(config: Path | None, options: dict[str, Any]) -> CoordinatorConfig:
    """Return the settings; a URL of a database, which holds a password, is kept secret.

    :raises ConfigError: if something is wrong with them.
    """
    settings = load(config, options)
    if settings.database is None:
        return settings
    url = read_secret(settings.database, "database's URL")
    parse_url(url)
    return settings.model_copy(update={"database": url})
