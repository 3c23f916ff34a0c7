"""A peer's entry, and what status says about it."""

import random
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest

from meshwg.keys import PrivateKey, format_key
from meshwg.path.agent import PathAgent
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import from_message
from meshwg.path.tunnels import OwnTunnels
from meshwg.path.veil import Veil
from meshwg.peer import IDLE_REASON, NOTE_INTERVAL, MeshPeer
from meshwg.transmit import Endpoint
from meshwg.wire import control
from meshwg.wireguard.device import Device

RANDOM = random.Random(3).randbytes
NOW, UNIX_TIME = 1000.0, 1_800_000_000.0
HERE, THERE = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)


def test_its_networks_are_its_addresses_and_what_is_behind_it() -> None:
    peer = make_peer(addresses=("100.64.0.9", "fd00::9"), routes=("10.1.0.0/16",))

    expected = ["100.64.0.9/32", "fd00::9/128", "10.1.0.0/16"]
    assert peer.networks() == [ip_network(text) for text in expected]


def test_its_relayed_address_is_the_one_it_reported() -> None:
    relayed = control.ReportedCandidate(kind="relay", host="198.51.100.9", port=50000)
    host = control.ReportedCandidate(kind="host", host="192.0.2.7", port=41641)

    assert make_peer(candidates=(host, relayed)).relay_candidates() == [relayed]
    assert make_peer(candidates=(host,)).relay_candidates() == []


def test_many_messages_from_one_address_are_reported_now_and_then() -> None:
    peer = make_peer()

    assert peer.is_news(HERE, NOW)
    assert not peer.is_news(HERE, NOW + NOTE_INTERVAL / 2)
    assert peer.is_news(HERE, NOW + NOTE_INTERVAL)


def test_a_message_from_elsewhere_is_reported_at_once() -> None:
    peer = make_peer()
    peer.is_news(HERE, NOW)

    assert peer.is_news(THERE, NOW)
    assert peer.is_news(HERE, NOW)


def test_messages_sent_are_reported_now_and_then() -> None:
    peer = make_peer()

    assert peer.is_traffic_news(NOW)
    assert not peer.is_traffic_news(NOW + NOTE_INTERVAL / 2)
    assert peer.is_traffic_news(NOW + NOTE_INTERVAL)


def test_a_peer_that_was_never_needed_says_so() -> None:
    status = make_peer(addresses=("100.64.0.9",)).status(NOW, UNIX_TIME)

    assert status["reason"] == IDLE_REASON
    assert status["attempts"] == []
    assert status["addresses"] == ["100.64.0.9"]
    assert status["last_handshake_age"] is None
    assert status["nat"] is None
    assert set(status["path"].values()) == {None, "none"}


def test_a_relay_that_refuses_is_the_reason_for_not_reaching_the_peer() -> None:
    peer = make_peer()
    begin(peer).sent(NOW)
    refusal = "The relay does not relay to this address (403 Forbidden)"

    reason = peer.status(NOW, UNIX_TIME, refusal)["reason"]

    assert reason == f"{refusal}, so it carries nothing to this peer."


def test_the_nat_of_the_peer_is_that_of_ipv4_if_it_has_that() -> None:
    four = control.ReportedNat(reachable=True, type="symmetric")
    six = control.ReportedNat(reachable=True, type="open-internet")

    def shown(
        ipv4: control.ReportedNat | None, ipv6: control.ReportedNat | None
    ) -> str:
        peer = make_peer(nat=control.NatReport(ipv4=ipv4, ipv6=ipv6))
        return str(peer.status(NOW, UNIX_TIME)["nat"]["type"])

    assert shown(four, six) == "symmetric"
    assert shown(None, six) == "open-internet"


def test_another_session_in_its_offers_means_that_it_restarted() -> None:
    peer = make_peer()

    def restarted(word: object) -> bool:
        extension = {} if word is None else {"session": word}
        offer = control.OfferMessage(to="A" * 43 + "=", sequence=1, extension=extension)
        return peer.has_restarted(from_message(offer)[0])

    assert [restarted(word) for word in ("a", "a", "b", "b", ["strange"])] == [
        False,
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("hub_has_path", [False, True])
def test_a_hub_lends_its_path_and_its_name(hub_has_path: bool) -> None:
    peer, hub = make_peer(), make_peer(name="hub")
    peer.via, peer.is_forwarded = hub, True
    if hub_has_path:
        agent = begin(hub)
        agent.set_relay(Endpoint("198.51.100.9", 50000, 1), NOW)
        agent.sent(NOW)

    status = peer.status(NOW, UNIX_TIME)

    assert status["reason"].startswith("The hub hub forwards: ")
    expected = ("relay", "hub") if hub_has_path else ("none", None)
    assert (status["path"]["kind"], status["path"]["via"]) == expected


@pytest.mark.parametrize(
    ("is_forwarded", "words", "kind"),
    [
        (None, "Packets go by the hub hub, and no echo has come back", "relay"),
        (False, "The hub hub does not forward to there", "none"),
        (True, "The hub hub forwards: ", "relay"),
    ],
    ids=["not-known", "does-not", "does"],
)
def test_no_hub_is_said_to_forward_that_does_not(
    is_forwarded: bool | None, words: str, kind: str
) -> None:
    peer, hub = make_peer(), make_peer(name="hub")
    peer.via, peer.is_forwarded = hub, is_forwarded
    agent = begin(hub)
    agent.set_relay(Endpoint("198.51.100.9", 50000, 1), NOW)
    agent.sent(NOW)

    status = peer.status(NOW, UNIX_TIME)

    assert status["reason"].startswith(words)
    assert status["path"]["kind"] == kind


def begin(peer: MeshPeer) -> PathAgent:
    key = PrivateKey.generate(RANDOM)
    agent = peer.begin(
        key,
        random=RANDOM,
        limiter=PunchLimiter(True),
        overlay=(),
        routes=(),
        links=count(-1, -1),
        tunnels=OwnTunnels(),
        veil=Veil(key),
    )
    assert agent is not None
    return agent


def make_peer(name: str = "bob", **fields: Any) -> MeshPeer:
    device = Device(random=RANDOM, unix_time=lambda now: now)
    key = PrivateKey.generate(RANDOM).public_bytes
    entry = control.PeerEntry(
        public_key=format_key(key),
        name=name,
        **{"version": 1, "addresses": (), **fields},
    )
    return MeshPeer(entry, device.add_peer(key))
