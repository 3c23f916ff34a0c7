"""The file of a guard is read whole, or the node does not start."""

from pathlib import Path

import pytest

from meshwg.errors import ConfigError
from meshwg.runtime import guardfile
from meshwg.runtime.guardfile import read_guard


def test_a_guard_is_read(tmp_path: Path) -> None:
    file = tmp_path / "guard.toml"
    file.write_text('[[allow]]\nfrom = ["self"]\nto = ["any"]\n')

    rules = read_guard(file)

    assert rules is not None
    assert rules[0].sources == ("self",)


def test_there_need_be_none_at_the_usual_place_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "guard.toml"
    with pytest.raises(ConfigError, match="is not there"):
        read_guard(file)

    monkeypatch.setattr(guardfile, "DEFAULT_GUARD", file)
    assert read_guard(file) is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"allow = ", "is not valid TOML"),
        (b"\xff", "is not valid TOML"),
        (b"deny = []", "has no 'deny'"),
    ],
)
def test_a_guard_that_is_not_understood_is_an_error(
    tmp_path: Path, text: bytes, error: str
) -> None:
    file = tmp_path / "guard.toml"
    file.write_bytes(text)

    with pytest.raises(ConfigError, match=error):
        read_guard(file)


def test_so_is_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_guard(tmp_path)
