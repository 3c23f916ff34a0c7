"""The auth keys that one transaction reads and changes."""

import random

import pytest

from coordinator.mesh.authkeys import AuthKey, new_auth_key
from coordinator.mesh.keyring import KeyRing, mentioned
from coordinator.mesh.operations import (
    CreateAuthKey,
    Join,
    Refused,
    RevokeAuthKey,
    Sweep,
)
from meshwg.wire.control import ErrorCode
from meshwg.wire.token import AuthKeyText

NOW = 1000.0


def test_a_key_that_was_only_read_is_not_changed() -> None:
    text, key = auth_key()
    ring = KeyRing({key.number: key}, NOW)
    assert ring.check(str(text)) == key
    assert ring.changed == {}


def test_a_used_key_is_changed_and_checked_in_its_current_state() -> None:
    text, key = auth_key(reusable=False)
    ring = KeyRing({key.number: key}, NOW)
    ring.spend(key)
    assert ring.changed[key.number].used == NOW
    refused = ring.check(str(text))
    assert isinstance(refused, Refused)
    assert refused.code is ErrorCode.TOKEN_USED
    assert "token create" in refused.message


@pytest.mark.parametrize(
    "text",
    ["", "x", "000000000000." + "0" * 32, "é.é", "\0.aa", "\0" * 12 + "." + "0" * 32],
)
def test_a_key_that_the_transaction_does_not_know_is_refused(text: str) -> None:
    _, key = auth_key()
    refused = KeyRing({key.number: key}, NOW).check(text)
    assert isinstance(refused, Refused)
    assert refused.code is ErrorCode.TOKEN_UNKNOWN


def test_the_numbers_to_read_are_those_that_operations_mention() -> None:
    text, key = auth_key()
    operations = [
        RevokeAuthKey("bb" * 6),
        join(str(text).upper()),
        join(str(text)),
        join(None),
        join(""),
        CreateAuthKey(key),
        Sweep(),
        RevokeAuthKey("aa" * 6),
    ]
    assert mentioned(operations) == sorted(["aa" * 6, "bb" * 6, key.number])
    assert mentioned([Sweep(), join(None), join("")]) == []


@pytest.mark.parametrize(
    "text", ["\0", "\0.aa", "\ud800", "a" * 13, "é" * 12, "٣" * 12, "aa" * 6 + "\n"]
)
def test_what_cannot_be_an_auth_key_is_not_looked_for_in_the_database(
    text: str,
) -> None:
    assert mentioned([RevokeAuthKey(text), join(text)]) == []
    assert mentioned([join(f"{text}.{'0' * 32}"), join(f"{'0' * 12}.{text}")]) == []


def auth_key(*, reusable: bool = True) -> tuple[AuthKeyText, AuthKey]:
    return new_auth_key(
        random.Random(1).randbytes,
        reusable=reusable,
        ephemeral=False,
        created=0.0,
        lifetime=1e6,
    )


def join(auth_key: str | None) -> Join:
    return Join("key", "session", "home", "node", auth_key)
