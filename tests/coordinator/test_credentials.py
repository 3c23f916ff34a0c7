"""TURN credentials, as coturn's use-auth-secret checks them."""

import base64
import hashlib
import hmac
import re

import pytest

from coordinator.credentials import (
    LIFETIME,
    covered,
    expired,
    mint,
    parse_relay_url,
    relay_host,
    user,
    user_in,
)
from meshwg.errors import ConfigError

URL = "turn:relay.example:3478?transport=udp"


def test_what_stands_for_a_node_tells_nobody_which_it_is() -> None:
    names = {user(node, secret) for node in ("one", "two") for secret in (b"n", b"s")}
    assert len(names) == 4
    assert all(re.fullmatch("[0-9a-f]{24}", name) for name in names)


def test_a_node_has_another_name_with_each_expiry_and_the_relay_knows_it() -> None:
    times = [3600.0 * hour for hour in range(50)]
    names = [mint(URL, b"n", "one", when).username for when in times]
    assert len({name.partition(":")[2] for name in names}) == 50
    assert {user_in(name, b"n") for name in names} == {user("one", b"n")}
    assert user_in(names[0], b"s") != user("one", b"n")


@pytest.mark.parametrize(
    "name", ["abc", "", "~", "~xyz", "~" + "A" * 24, "~" + "1" * 25]
)
def test_another_name_stands_for_itself(name: str) -> None:
    assert user_in(f"5000:{name}", b"n") == name


def test_the_password_is_the_hmac_that_relays_compute() -> None:
    relay = mint(URL, b"north", "node-key", 1000.0)
    expires, name = int(1000 + LIFETIME), user("node-key", b"north")
    expected = hmac.new(b"north", relay.username.encode(), hashlib.sha1).digest()
    assert relay.password == base64.b64encode(expected).decode()
    assert relay.username == f"{expires}:{covered(name, expires, b'north')}"
    assert relay.expires == 1000 + LIFETIME


def test_credentials_end_at_the_time_in_their_name() -> None:
    assert not expired("1000:a", 999.0)
    assert expired("1000:a", 1000.0)


@pytest.mark.parametrize("name", ["", "a", ":", "-5:a", "1e9:a", "9" * 13 + ":a"])
def test_a_name_without_a_time_is_refused(name: str) -> None:
    assert expired(name, 0.0)


@pytest.mark.parametrize(
    "url",
    [
        *(URL, "turn:192.0.2.1", "turns:[2001:db8::1]:443?transport=tcp"),
        *("wss://mesh.example/v1/relay", "ws://[2001:db8::1]:80/a/v1/relay"),
    ],
)
def test_relay_urls_are_accepted(url: str) -> None:
    assert parse_relay_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "stun:h", "turn:", "turn:h?transport=sctp", "turn:" + "h" * 300),
        *("wss:h", "wss://", "wss://h/?a=b", "wss://user@h/", "https://h/v1/relay"),
    ],
)
def test_an_invalid_relay_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a relay"):
        parse_relay_url(url)


def test_the_host_of_a_relay_is_the_same_however_it_is_reached() -> None:
    for url in ("turn:relay.test:1?transport=udp", "wss://relay.test:1/mesh/v1/relay"):
        assert relay_host(url) == "relay.test"
    assert relay_host("turns:[2001:db8::1]:443") == "[2001:db8::1]"
