"""What status says about a whole node: the keys of the outside contract, no secret."""

import base64
import json
import re
from typing import Any

import pytest

from meshwg import status as module
from meshwg.control.drop import ControlDrop
from meshwg.health import Complaint, Severity
from meshwg.nat.gateway import GatewayDrop
from meshwg.nat.probe import ProbeDrop
from meshwg.path.candidate import Rejection
from meshwg.path.check import CheckDrop
from meshwg.relay.client import RelayDrop
from meshwg.status import SCHEMA, peers_status, quiet_peers, status
from meshwg.transmit import Endpoint
from meshwg.wireguard.drop import Drop
from tests import datapaths
from tests.sim.kinds import PORT_RESTRICTED, SYMMETRIC_RANDOM
from tests.sim.network import UNIX_OFFSET
from tests.world.node import SimNode
from tests.world.relay import SECRET
from tests.world.world import World, pair, strangers

REASONS = (
    CheckDrop,
    ControlDrop,
    Drop,
    GatewayDrop,
    ProbeDrop,
    Rejection,
    RelayDrop,
)
"""Why things are dropped. One object of counters holds them all."""

NAT = {
    "reachable",
    "public",
    "mapping",
    "filtering",
    "type",
    "port_preserving",
    "port_allocation",
    "port_delta",
    "hairpinning",
    "lifetime_s",
}


def test_the_reasons_of_all_drops_are_different_words_with_hyphens() -> None:
    words = [reason.value for reasons in REASONS for reason in reasons]
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", word) for word in words)
    assert len(words) == len(set(words))


def test_it_has_the_keys_that_programs_rely_on() -> None:
    _, alice, bob = pair(PORT_RESTRICTED, PORT_RESTRICTED)

    report = of(alice)

    assert report["schema"] == SCHEMA == 1
    own, (peer,) = report["self"], report["peers"]
    assert own["name"] == "alice"
    assert own["public_key"] == alice.node.public_key
    assert own["addresses"] == list(alice.node.members.own_addresses())
    assert (own["interface"], own["listen_port"], own["mtu"]) == ("mesh0", 41641, 1400)
    assert own["datapath"] == datapaths.chosen()
    assert own["nat"].keys() >= NAT
    assert own["nat"]["type"] == "port-restricted-cone"
    assert peer["name"] == "bob"
    assert peer["public_key"] == bob.node.public_key
    assert peer["nat"].keys() >= NAT
    assert peer["path"].keys() >= {"kind", "method", "remote", "rtt_ms", "loss"}
    assert peer["path"]["kind"] == "direct"
    assert peer["attempts"][0].keys() == {"at", "method", "result", "detail"}
    assert peer["last_handshake_age"] < 60
    assert peer["rx_bytes"] > 0 < peer["tx_bytes"]


def test_of_very_many_peers_those_that_were_never_spoken_to_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, alice, _ = pair()
    world.add("carol")
    world.run(lambda: len(alice.node.peers) == 2)
    assert quiet_peers(alice.node) == frozenset()

    monkeypatch.setattr(module, "LISTED", 1)
    quiet = quiet_peers(alice.node)
    assert len(quiet) == 1
    shown = peers_status(alice.node, world.now, world.unix_time, quiet)
    assert [each["name"] for each in shown] == ["bob"]


def test_it_says_what_is_wrong() -> None:
    _, alice, _ = pair()
    assert of(alice)["health"] == []

    alice.node.health.set(
        Complaint("disk-full", Severity.FAILURE, "The disk is full.", "Free space.")
    )

    assert of(alice)["health"] == [
        {
            "code": "disk-full",
            "severity": "failure",
            "text": "The disk is full.",
            "mend": "Free space.",
        }
    ]


def test_it_shows_the_state_of_coordinator_and_relay() -> None:
    world, alice, _ = strangers(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM)

    own = of(alice)["self"]
    assert own["coordinator"]["state"] == "connected"
    assert own["coordinator"]["error"] is None
    assert own["relay"]["state"] == "allocated"
    assert own["relay"]["transport"] == "udp"
    assert own["relay"]["address"].startswith("198.51.100.9:")

    world.coordinator.stop()
    world.advance(1)
    own = of(alice)["self"]
    assert own["coordinator"]["state"] in ("offline", "connecting")
    assert own["coordinator"]["error"] == "It cannot be reached"
    assert own["coordinator"]["since"] <= world.now + UNIX_OFFSET


def test_a_node_that_has_not_joined_shows_the_name_it_wants() -> None:
    world = World()
    world.coordinator.stop()
    alice = world.add("alice")

    report = of(alice)

    assert report["self"]["name"] == "wanted-name"
    assert report["self"]["addresses"] == []
    assert report["self"]["nat"] is None
    assert report["peers"] == []
    assert report["counters"]["drops"] == {}


def test_peers_are_in_the_order_of_their_names() -> None:
    world = World()
    for name in ("carol", "alice", "bob"):
        world.add(name)
    world.settle()

    names = [peer["name"] for peer in of(world.nodes["alice"])["peers"]]
    assert names == ["bob", "carol"]


def test_peers_are_shown_with_their_owner_and_tags() -> None:
    world = World()
    alice = world.add("alice")
    world.auth_key = world.ledger.add_auth_key(owner="bob@example.org", tags=("db",))
    world.add("bob")
    world.settle()

    (bob,) = of(alice)["peers"]
    assert (bob["class"], bob["owner"], bob["tags"]) == (
        None,
        "bob@example.org",
        ["db"],
    )


def test_what_was_dropped_is_counted_by_reason() -> None:
    _, alice, _ = strangers()

    alice.node.receive_datagrams([b"?"], Endpoint("192.0.2.66", 1), alice.now)

    assert of(alice)["counters"]["drops"]["unknown-datagram"] == 1


def test_it_holds_no_secret() -> None:
    world, alice, _ = pair(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM)
    registered = alice.client.registered
    assert registered is not None
    (relay,) = registered.relays

    text = json.dumps(of(alice))

    private_key = alice.private_key.private_bytes
    for secret in (
        base64.b64encode(private_key).decode(),
        private_key.hex(),
        world.auth_key,
        relay.password,
        SECRET.decode(),
    ):
        assert secret not in text


def of(node: SimNode) -> dict[str, Any]:
    """Return the status as the daemon makes it, through JSON and back."""
    report = status(
        node.node,
        name="wanted-name",
        interface="mesh0",
        mtu=1400,
        coordinator_url="http://coordinator.test:8443",
        now=node.now,
        unix_time=node.now + UNIX_OFFSET,
    )
    parsed: dict[str, Any] = json.loads(json.dumps(report))
    return parsed
