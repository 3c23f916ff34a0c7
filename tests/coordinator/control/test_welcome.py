"""What a node is told when it has become a member."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from coordinator.control.settings import Settings
from coordinator.control.welcome import MAX_SPREAD, RECONNECTIONS_PER_SECOND, Welcomes
from coordinator.credentials import password, user, user_in
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.registry import Registry
from meshwg.wire.control import Registered, decode_from_coordinator, encode

NODE = Node(key="key", name="web", requested_name="web", number=7)


def test_a_node_is_told_who_it_is_and_who_its_peers_are() -> None:
    registered = welcome(stun=("192.0.2.1:3478",), heartbeat=2.0)
    assert (registered.name, registered.epoch) == ("web", "epoch")
    assert registered.addresses == ("100.64.0.7", "fd00::7")
    assert registered.networks == ("100.64.0.0/16", "fd00::/48")
    assert registered.stun == ("192.0.2.1:3478",)
    assert (registered.heartbeat, registered.time) == (2.0, 1000.0)
    assert decode_from_coordinator(encode(registered)) == registered


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("unix:", None),
    ],
)
def test_the_address_of_the_connection_is_reported_if_there_is_one(
    shown: str, told: str | None
) -> None:
    assert welcome(observed=shown).observed == told


def test_relays_come_with_credentials_of_the_shared_secret() -> None:
    (relay,) = welcome(relays=("turn:h:1",), relay_secret=b"north").relays
    assert user_in(relay.username, b"north") == user("key", b"north")
    assert relay.password == password(relay.username, b"north")


def test_a_relay_with_a_secret_of_its_own_gets_no_other() -> None:
    urls = ("turn:h:1", "turn:other:1")
    secrets = {urls[1]: b"south"}
    own, other = welcome(
        relays=urls, relay_secret=b"north", relay_secrets=secrets
    ).relays
    assert own.password == password(own.username, b"north")
    assert other.password == password(other.username, b"south")
    assert own.username != other.username


def test_the_more_nodes_the_wider_they_spread() -> None:
    assert welcome(members=0).spread == 1.0
    assert welcome(members=5 * RECONNECTIONS_PER_SECOND).spread == 6.0
    assert welcome(members=10**6).spread == MAX_SPREAD


def welcome(
    *,
    observed: str = "192.0.2.7",
    members: int = 1,
    stun: tuple[str, ...] = (),
    relays: tuple[str, ...] = (),
    relay_secret: bytes = b"",
    relay_secrets: Mapping[str, bytes] = MappingProxyType({}),
    heartbeat: float = 3.0,
) -> Registered:
    registry = Registry(Networks.parse("100.64.0.0/16", "fd00::/48"), "epoch")
    settings = Settings(
        stun=stun,
        relays=relays,
        relay_secret=relay_secret,
        relay_secrets=relay_secrets,
        heartbeat=heartbeat,
    )
    return Welcomes(registry, settings).registered(
        NODE, notice="", observed=observed, members=members, unix_time=1000.0
    )
