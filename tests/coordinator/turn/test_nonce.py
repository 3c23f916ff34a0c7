"""Nonces that need no memory."""

import random

import pytest

from coordinator.turn.nonce import LIFETIME, NonceMint
from meshwg.transmit import Endpoint

CLIENT = Endpoint("203.0.113.1", 1111)


def make_mint(seed: int = 1) -> NonceMint:
    return NonceMint(random.Random(seed).randbytes)


def test_a_nonce_is_valid_for_an_hour() -> None:
    mint = make_mint()
    nonce = mint.make(CLIENT, 50.0)

    assert mint.check(nonce, CLIENT, 50.0)
    assert mint.check(nonce, CLIENT, 50.0 + LIFETIME - 1)
    assert not mint.check(nonce, CLIENT, 50.0 + LIFETIME)


@pytest.mark.parametrize(
    "other",
    [
        Endpoint("203.0.113.2", 1111),
        Endpoint("203.0.113.1", 1112),
        Endpoint("203.0.113.1", 1111, link=70_000),
    ],
    ids=["address", "port", "link"],
)
def test_a_nonce_is_for_one_client(other: Endpoint) -> None:
    mint = make_mint()

    assert not mint.check(mint.make(CLIENT, 0.0), other, 0.0)


def test_a_nonce_from_before_a_restart_is_invalid() -> None:
    assert not make_mint(2).check(make_mint(1).make(CLIENT, 0.0), CLIENT, 0.0)


@pytest.mark.parametrize(
    "nonce", [b"", b"A", b"!" * 20, b"\xff\xfe", b"A" * 20, b"A" * 24]
)
def test_a_nonce_from_another_server_is_invalid(nonce: bytes) -> None:
    assert not make_mint().check(nonce, CLIENT, 0.0)


def test_a_nonce_from_the_future_is_invalid() -> None:
    mint = make_mint()

    assert not mint.check(mint.make(CLIENT, 100.0), CLIENT, 50.0)
