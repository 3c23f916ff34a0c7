"""Traffic: who gets what arrives beside established sessions, and where answers go."""

import pytest

from meshwg.status import all_drops
from meshwg.transmit import FIRST_LINK, Endpoint
from meshwg.wire.channeldata import wrap
from meshwg.wire.stun import binding_request
from tests import datapaths
from tests.node.stage import BOB, BOBS_ENDPOINT, HOME, NOW, Stage
from tests.wireguard.pair import ipv4

STRANGER = Endpoint("192.0.2.66", 666)
RELAYED = Endpoint("198.51.100.9", 50000, FIRST_LINK)


@pytest.mark.parametrize("endpoint", [STRANGER, RELAYED], ids=["udp", "relayed"])
def test_unsolicited_messages_are_counted_by_their_apparent_kind(
    endpoint: Endpoint,
) -> None:
    stage = Stage()
    datagrams = [
        b"",
        b"garbage",
        wrap(0x4001, [b"for a relay that this node does not use"])[0],
        binding_request(bytes(12)),
        binding_request(bytes(12))[:19],
        b"\1\0\0\0" + bytes(144),
        b"\4\0\0\0" + bytes(28),
    ]
    stage.node.receive_datagrams(datagrams, endpoint, NOW)
    assert counted(stage) == {
        "unknown-datagram": 4,
        "unknown-check": 1,
        "invalid-mac1": 1,
        "unknown-session": 1,
    }
    assert stage.node.datagrams_to_send() == []


def test_stun_that_is_cut_off_is_counted() -> None:
    stage = Stage()
    damaged = bytearray(binding_request(bytes(12)))
    damaged[3] += 4
    stage.node.receive_datagrams([bytes(damaged)], STRANGER, NOW)
    assert counted(stage) == {"unknown-datagram": 1}


def test_an_answer_goes_to_where_its_peer_has_just_been_heard() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB)
    stage.connect(bob)
    stage.node.receive_packets([ipv4(HOME, BOB, b"answer")], NOW)
    destinations = {each.destination for each in stage.node.datagrams_to_send()}
    assert BOBS_ENDPOINT in destinations


def test_a_packet_for_a_peer_without_a_path_starts_the_search_for_one() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB)
    stage.node.receive_packets([ipv4(HOME, BOB)], NOW)
    assert bob.agent is not None
    assert stage.node.datagrams_to_send() == []
    assert stage.node.get_timer() is not None


def test_what_took_the_fast_path_is_reported_to_the_path_when_it_settles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    datapaths.use("python", monkeypatch)
    stage = Stage()
    bob = stage.add_peer("bob", BOB)
    stage.connect(bob)
    later = NOW + 60.0
    assert stage.node.seal_one(ipv4(HOME, BOB), later) is not None
    before = bob.tunnel.tx_bytes
    stage.node.settle()
    assert bob.tunnel.tx_bytes == before + 64


def test_a_stream_without_a_relay_carries_nothing() -> None:
    stage = Stage()
    stage.node.receive_stream(FIRST_LINK + 9, b"anything", NOW)
    assert stage.node.datagrams_to_send() == []
    assert counted(stage) == {}


def counted(stage: Stage) -> dict[str, int]:
    """Return what the node dropped, by reason."""
    return {reason: count for reason, count in all_drops(stage.node).items() if count}
