"""Where a command's database is, without its password on the command line."""

from pathlib import Path

import pytest

from coordinator.cli.settings import load_settings
from meshwg.errors import ConfigError

URL = "postgresql://mesh:hunter2@db/mesh"


def test_the_url_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URL}\n")
    found = load_settings(None, {"database": f"@{tmp_path}/url"})
    assert found.database == URL
    assert "hunter2" not in repr(found)


def test_the_settings_file_may_name_such_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(URL)
    config = tmp_path / "coordinator.toml"
    config.write_text(f'database = "@{tmp_path}/url"\n')
    assert load_settings(config, {}).database == URL


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="database's URL cannot be read"):
        load_settings(None, {"database": f"@{tmp_path}/none"})


def test_without_a_url_there_is_none() -> None:
    assert load_settings(None, {"database": None}).database is None
