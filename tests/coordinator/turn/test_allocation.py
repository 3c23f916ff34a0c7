"""One allocation: its permissions and its channels."""

import pytest

from coordinator.turn import Limits, TurnDrop
from meshwg.transmit import Endpoint
from tests.coordinator.turnclient import (
    BOB,
    CHANNEL,
    NOW,
    PEER,
    TurnClient,
    make_server,
)


@pytest.mark.parametrize("number", [0x3FFF, 0x8000, 0xFFFF])
def test_a_channel_number_outside_the_range_is_refused(number: int) -> None:
    assert TurnClient(make_server()).allocate().bind(number, PEER) == 400


def test_a_channel_and_a_peer_belong_together() -> None:
    alice = TurnClient(make_server()).allocate()
    other = PEER._replace(port=1)
    assert alice.bind(CHANNEL, PEER) == 0

    assert alice.bind(CHANNEL, PEER) == 0
    assert alice.bind(CHANNEL, other) == 400
    assert alice.bind(CHANNEL + 1, PEER) == 400
    assert alice.bind(CHANNEL + 1, other) == 0


def test_a_channel_may_be_bound_to_another_peer_five_minutes_after_it_expired() -> None:
    clock = [NOW]
    alice = TurnClient(make_server(), now=lambda: clock[0]).allocate(lifetime=3600)
    alice.bind(CHANNEL, PEER)

    clock[0] += 899
    assert alice.bind(CHANNEL, BOB) == 400
    clock[0] += 1
    assert alice.bind(CHANNEL, BOB) == 0


def test_permissions_and_channels_are_limited_until_old_ones_expire() -> None:
    clock = [NOW]
    limits = Limits(permissions=3, channels=2)
    alice = TurnClient(make_server(limits=limits), now=lambda: clock[0])
    alice.allocate(lifetime=3600)
    peers = [Endpoint(f"192.0.2.{number}", 1) for number in range(4)]

    assert [alice.permit(peer) for peer in peers] == [0, 0, 0, 508]
    assert alice.bind(CHANNEL, peers[0]) == 0
    assert alice.bind(CHANNEL + 1, peers[1]) == 0
    assert alice.bind(CHANNEL + 2, peers[2]) == 508
    clock[0] += 901
    assert alice.permit(peers[3]) == 0
    assert alice.bind(CHANNEL + 2, peers[2]) == 0


def test_a_permission_ends_after_five_minutes() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.permit(PEER)

    server.receive_from_peer(alice.relayed, [b"in time"], PEER, NOW + 299)
    server.receive_from_peer(alice.relayed, [b"late"], PEER, NOW + 300)

    assert len(server.datagrams_to_send()) == 1
    assert server.counters.drops == {TurnDrop.NO_PERMISSION: 1}
