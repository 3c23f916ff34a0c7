"""A guard's file is read whole, else a node does not start, or keeps what it has."""

import logging
from pathlib import Path

import pytest

from meshwg.errors import ConfigError
from meshwg.policy.filter import DenyReason
from meshwg.policy.ports import TCP
from meshwg.runtime import guardfile
from meshwg.runtime.guardfile import CODE, read_guard, renew_guard
from tests.node.stage import BOB, HOME, NOW, Stage

GUARD = '[[allow]]\nfrom = ["{}"]\nto = ["{}"]\n'


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


def test_a_guard_that_has_changed_is_taken_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB)
    file = tmp_path / "guard.toml"
    for ends in (("self", "any"), ("node:bob", "self")):
        file.write_text(GUARD.format(*ends))
        with caplog.at_level(logging.INFO):
            renew_guard(stage.node, file, NOW)
            renew_guard(stage.node, file, NOW)

    rule_for = stage.node.access.rule_for
    (address,) = bob.entry.addresses
    assert rule_for(address, HOME, TCP, 22)[1] is None
    assert rule_for(HOME, address, TCP, 22)[1] is DenyReason.GUARD
    said = [each.getMessage() for each in caplog.records]
    assert said == [f"The guard {file} was read again: one rule"] * 2


def test_one_that_is_wrong_leaves_the_old_one_and_stands_in_health(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage()
    file = tmp_path / "guard.toml"
    file.write_text(GUARD.format("self", "any"))
    renew_guard(stage.node, file, NOW)
    before = stage.node.access.guard

    file.write_text("allow = ")
    renew_guard(stage.node, file, NOW)

    assert stage.node.access.guard == before
    (complaint,) = stage.node.health
    assert complaint.code == CODE
    assert f"The guard {file} is not valid TOML" in complaint.text
    assert "The guard stays as it is" in caplog.text
    file.write_text(GUARD.format("self", "any"))
    renew_guard(stage.node, file, NOW)
    assert list(stage.node.health) == []


def test_at_the_usual_place_it_may_be_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage()
    file = tmp_path / "guard.toml"
    monkeypatch.setattr(guardfile, "DEFAULT_GUARD", file)
    file.write_text(GUARD.format("self", "any"))
    renew_guard(stage.node, file, NOW)

    file.unlink()
    renew_guard(stage.node, file, NOW)

    assert stage.node.access.guard is None
    assert not stage.node.access.is_on
