"""The data directory: made once, private, and explained when it is not usable."""

import os
from pathlib import Path

import pytest

from coordinator.runtime.files import (
    DataDirectory,
    read_relay_secrets,
    read_secret_file,
)
from meshwg.errors import ConfigError, MeshError


def test_the_key_is_made_once_and_kept(tmp_path: Path) -> None:
    first = directory(tmp_path).private_key()
    assert directory(tmp_path).private_key() == first
    assert directory(tmp_path).exists


def test_a_mesh_is_begun_once(tmp_path: Path) -> None:
    made = directory(tmp_path)
    assert made.begin()
    made.private_key()
    # Until the database holds it, a start may be cut short.
    assert directory(tmp_path).begin()
    made.begun()
    assert not directory(tmp_path).begin()


def test_a_backup_of_the_files_can_be_put_back(tmp_path: Path) -> None:
    made = directory(tmp_path)
    key = made.private_key()
    there = directory(tmp_path / "there")
    there.create()
    there.put_back(made.contents())
    assert there.private_key() == key
    assert (there.path / "coordinator.key").stat().st_mode & 0o777 == 0o600


def test_a_key_is_replaced_and_the_one_before_kept_until_it_is_retired(
    tmp_path: Path,
) -> None:
    made = directory(tmp_path)
    old = made.private_key()
    assert made.former_key() is None
    stamps = [made.stamp_of_keys()]

    new = made.rotate_key()
    stamps.append(made.stamp_of_keys())
    assert new != old
    assert (directory(tmp_path).private_key(), made.former_key()) == (new, old)
    assert (tmp_path / "coordinator.key.old").stat().st_mode & 0o777 == 0o600
    with pytest.raises(MeshError, match="still served"):
        made.rotate_key()

    assert made.retire_key()
    stamps.append(made.stamp_of_keys())
    assert not made.retire_key()
    assert (made.private_key(), made.former_key()) == (new, None)
    assert len(set(stamps)) == 3


def test_a_rotation_that_was_cut_short_is_none(tmp_path: Path) -> None:
    made = directory(tmp_path)
    key = made.private_key()
    text = (tmp_path / "coordinator.key").read_text()
    (tmp_path / "coordinator.key.old").write_text(text)
    assert made.former_key() is None
    assert made.rotate_key() != key
    assert made.former_key() == key


def test_a_backup_leaves_no_former_key_of_another_mesh(tmp_path: Path) -> None:
    made, there = directory(tmp_path / "here"), directory(tmp_path / "there")
    made.private_key()
    there.private_key()
    there.rotate_key()
    there.put_back(made.contents())
    assert there.former_key() is None
    made.rotate_key()
    there.put_back(made.contents())
    assert there.former_key() == made.former_key()


def test_secrets_are_made_once_and_differ(tmp_path: Path) -> None:
    made = directory(tmp_path)
    token, secret = made.admin_token(), made.relay_secret()
    assert len(token) == 48
    assert token.encode() != secret
    assert (directory(tmp_path).admin_token(), made.relay_secret()) == (token, secret)


def test_no_other_user_can_read_anything(tmp_path: Path) -> None:
    made = directory(tmp_path / "data")
    made.private_key()
    made.admin_token()
    with made.lock():
        pass
    assert made.path.stat().st_mode & 0o777 == 0o700
    for path in made.path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_a_second_coordinator_is_kept_out(tmp_path: Path) -> None:
    with (
        directory(tmp_path).lock(),
        pytest.raises(MeshError, match="Another coordinator"),
        directory(tmp_path).lock(),
    ):
        pass
    with directory(tmp_path).lock():
        pass


@pytest.mark.parametrize("content", [b"", b"nonsense", b"AAAA\n"])
def test_a_damaged_key_is_named_and_not_replaced(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "coordinator.key").write_bytes(content)
    with pytest.raises(ConfigError, match=r"coordinator\.key is damaged"):
        directory(tmp_path).private_key()
    assert (tmp_path / "coordinator.key").read_bytes() == content


def test_a_key_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "coordinator.key").write_bytes(b"\xff\xfe")
    with pytest.raises(MeshError, match="it is not text"):
        directory(tmp_path).private_key()


def test_an_empty_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("\n")
    with pytest.raises(ConfigError, match=r"admin\.token is empty"):
        directory(tmp_path).admin_token()


def test_a_path_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeshError, match="cannot be used"):
        directory(tmp_path / "file")


def test_a_shared_secret_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(" north \n")
    assert read_secret_file(path) == b"north"
    path.write_text("")
    with pytest.raises(ConfigError, match="empty"):
        read_secret_file(path)
    with pytest.raises(MeshError, match="No such file"):
        read_secret_file(tmp_path / "none")


def test_secrets_of_relays_are_read_by_host(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text("north.test first\nsouth.test second\n")
    assert read_relay_secrets(path) == {"north.test": b"first", "south.test": b"second"}
    assert read_relay_secrets(None) == {}
    path.write_text("# nothing yet\n")
    with pytest.raises(ConfigError, match="HOST SECRET"):
        read_relay_secrets(path)


def directory(path: Path) -> DataDirectory:
    made = DataDirectory(path, os.urandom)
    made.create()
    return made
