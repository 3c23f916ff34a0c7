"""Auth keys: who may join, how often, until when."""

import random
from dataclasses import replace

import pytest

from coordinator.mesh.authkeys import AuthKey, parse_lifetime
from meshwg.errors import ConfigError
from meshwg.wire.control import ErrorCode
from meshwg.wire.token import AuthKeyText

TEXT = AuthKeyText.generate(random.Random(1).randbytes)


def test_a_fresh_key_lets_a_node_in_once() -> None:
    key = make()
    assert key.refusal(TEXT.secret, 5.0) is None
    assert key.spend(5.0).refusal(TEXT.secret, 6.0) is ErrorCode.TOKEN_USED


def test_a_reusable_key_lets_many_nodes_in() -> None:
    key = replace(make(), reusable=True).spend(1.0).spend(2.0)
    assert key.refusal(TEXT.secret, 5.0) is None
    assert (key.uses, key.used) == (2, 2.0)


def test_a_key_for_some_nodes_lets_in_so_many() -> None:
    key = replace(make(), reusable=True, limit=3)
    for _ in range(3):
        assert key.refusal(TEXT.secret, 5.0) is None
        assert key.state(5.0) == "valid"
        key = key.spend(5.0)
    assert key.refusal(TEXT.secret, 5.0) is ErrorCode.TOKEN_USED
    assert key.state(5.0) == "used"
    assert key.max_uses == 3


def test_a_key_expires_at_its_time() -> None:
    assert make().refusal(TEXT.secret, 99.0) is None
    assert make().refusal(TEXT.secret, 100.0) is ErrorCode.TOKEN_EXPIRED


def test_a_revoked_key_admits_no_node() -> None:
    key = replace(make(), revoked=True, reusable=True)
    assert key.refusal(TEXT.secret, 5.0) is ErrorCode.TOKEN_REVOKED


def test_without_the_secret_nothing_is_revealed_about_the_key() -> None:
    for key in (make(), replace(make(), revoked=True), make().spend(1.0)):
        assert key.refusal(b"?" * 16, 1000.0) is ErrorCode.TOKEN_UNKNOWN


def test_only_a_hash_of_the_secret_is_kept() -> None:
    assert TEXT.secret.hex() not in repr(make())
    assert len(make().digest) == 64


@pytest.mark.parametrize(
    ("key", "state"),
    [
        (lambda: make(), "valid"),
        (lambda: make().spend(1.0), "used"),
        (lambda: replace(make(), reusable=True).spend(1.0), "valid"),
        (lambda: replace(make(), expires=1.0), "expired"),
        (lambda: replace(make(), revoked=True), "revoked"),
    ],
)
def test_the_list_says_what_a_key_permits(key: object, state: str) -> None:
    assert callable(key)
    assert key().state(5.0) == state


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("24h", 86400), ("7d", 604800), ("1h30m", 5400), ("2w", 1209600)],
)
def test_lifetimes_are_read(text: str, seconds: float) -> None:
    assert parse_lifetime(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0h", "24", "h", "-1h", "1y", "1.5h", "24h ", "9999w", "٣h"]
)
def test_an_invalid_lifetime_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a lifetime"):
        parse_lifetime(text)


def make() -> AuthKey:
    return AuthKey.from_text(
        TEXT, reusable=False, ephemeral=False, created=0.0, lifetime=100.0
    )
