"""Secrets of relays: one for each, and none that shows another."""

import pytest

from coordinator.relaysecrets import RelaySecrets, derive, parse_secrets
from meshwg.errors import ConfigError

NORTH, SOUTH = "turn:north.test:3478?transport=udp", "turns:south.test"


def test_each_relay_has_a_secret_of_its_own_that_shows_no_other() -> None:
    secrets = RelaySecrets(b"own")
    found = {secrets.of_url(url) for url in (NORTH, SOUTH)} | {secrets.own("home.test")}
    assert len(found) == 3
    assert secrets.own("home.test") == b"own"
    # Who has one of them cannot get to another as the coordinator does.
    assert derive(secrets.of_url(NORTH), "south.test") not in found


def test_all_ways_to_one_relay_have_one_secret() -> None:
    secrets = RelaySecrets(b"own")
    urls = ("turn:North.test", "turns:north.test:443?transport=tcp", NORTH)
    assert {secrets.of_url(url) for url in urls} == {secrets.of_host("north.test")}
    six = "turn:[2001:db8::1]:3478"
    assert secrets.of_url(six) == secrets.of_host("2001:db8::1")


def test_what_an_administrator_has_chosen_is_taken() -> None:
    lines = b"# relays\nnorth.test first\n\n[2001:db8::1]  second\nhome.test third\n"
    secrets = RelaySecrets(b"own", parse_secrets(lines))
    assert secrets.of_url(NORTH) == b"first"
    assert secrets.of_url("turn:[2001:DB8::1]:3478") == b"second"
    assert secrets.own("home.test") == b"third"
    assert secrets.own("other.test") == b"own"
    assert secrets.of_url(SOUTH) == derive(b"own", "south.test")
    assert secrets.sharing((NORTH, SOUTH)) == []


@pytest.mark.parametrize(
    "content", [b"common", b"old secret", b"a common secret of old"]
)
def test_a_secret_alone_is_for_other_relays_and_never_for_the_own(
    content: bytes,
) -> None:
    secrets = RelaySecrets(b"own", parse_secrets(content))
    assert secrets.of_url(NORTH) == content
    assert secrets.own("home.test") == b"own"
    assert secrets.sharing((NORTH, SOUTH)) == ["north.test", "south.test"]
    assert secrets.sharing((NORTH,)) == []


@pytest.mark.parametrize(
    "content", [b"north.test a\nnorth.test b", b"a b\nc d e", b"one\ntwo"]
)
def test_what_cannot_be_meant_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_secrets(content)


def test_nothing_is_no_secret() -> None:
    assert parse_secrets(b"# none\n") == {}
