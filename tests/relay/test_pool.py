"""The nearest relay is home, another takes over, and UDP is not everything."""

from collections.abc import Callable

import pytest

from coordinator.turn import Limits
from meshwg.relay.allocation import RelayState
from meshwg.relay.client import MAX_WAITING, RelayDrop
from meshwg.relay.pool import LINGER
from meshwg.relay.server import Transport
from meshwg.transmit import Endpoint
from meshwg.wire.stun import (
    Attribute,
    Class,
    Message,
    StunErrorCode,
    binding_request,
    encode,
    parse,
)
from tests.relay.simulation import PoolHost
from tests.sim.nat import Nat
from tests.sim.network import UNIX_OFFSET, Network
from tests.world.relay import RelayHost

UDP, TCP = Transport.UDP, Transport.TCP
NEAR, FAR = "198.51.100.1", "198.51.100.2"


def test_the_nearest_of_several_relays_becomes_home() -> None:
    _, near, far, node = internet()

    node.use((far, UDP), (near, UDP))
    node.wait()

    assert node.home == NEAR
    assert node.pool.status.rtt_ms == pytest.approx(12, abs=0.1)


def test_an_allocation_takes_two_round_trips_from_the_first_answer() -> None:
    network, near, far, node = internet()
    began = network.now

    node.use((near, UDP), (far, UDP))
    node.wait()

    assert network.now - began == pytest.approx(3 * 0.012)


def test_without_any_relay_the_status_says_so() -> None:
    node = PoolHost(Network(), "203.0.113.1")

    node.use()
    node.send(Endpoint(FAR, 50000), b"lost")

    assert node.pool.status.state is RelayState.OFFLINE
    assert node.pool.status.error == "The coordinator offers no relay"
    assert node.pool.drops.total() == 0


def test_packets_sent_before_there_is_a_home_are_delivered() -> None:
    network, near, _, node = internet()
    other = PoolHost(network, "203.0.113.2")
    other.use((near, UDP))
    other.wait()
    other.pool.permit(NEAR, network.now)
    other.host.drain()

    node.use((near, UDP))
    node.send(other.relayed, b"early")
    network.advance(1)

    assert [packet for _, packet in other.received] == [b"early"]


def test_another_relay_takes_over_within_five_seconds_when_home_dies() -> None:
    network, near, far, node = internet()
    node.use((near, UDP), (far, UDP))
    node.wait()
    talk(network, node, seconds=20)

    near.is_dead = True
    took = talk_until(network, node, lambda: lives_at(node, FAR))

    assert took < 4
    assert [change.relayed for _, change in node.changes[1:]] == [None, node.relayed]


@pytest.mark.parametrize("pause", [0, 0.5, 1, 2, 4, 8, 16, 30])
@pytest.mark.parametrize("away", [5, 13, 40])
def test_relays_that_die_in_turn_replace_each_other(away: float, pause: float) -> None:
    network, near, far, node = internet()
    node.use((near, UDP), (far, UDP))
    node.wait()
    talk(network, node, seconds=3)
    near.is_dead = True
    talk(network, node, seconds=away)
    assert lives_at(node, FAR)

    near.restart()
    near.is_dead = False
    talk(network, node, seconds=pause)
    far.is_dead = True
    took = talk_until(network, node, lambda: lives_at(node, NEAR))

    assert took < 5


def test_a_node_that_only_receives_notices_that_its_relay_died() -> None:
    network, near, far, node = internet()
    other = PoolHost(network, "203.0.113.2")
    other.use((near, UDP), (far, UDP))
    other.wait()
    node.use((near, UDP), (far, UDP))
    node.wait()
    node.open(other.relayed)
    network.advance(12)
    for _ in range(30):
        other.send(node.relayed, b"data")
        network.advance(0.1)

    near.is_dead = True
    died = network.now
    assert network.run(until=lambda: lives_at(node, FAR), limit=30)

    assert len(node.received) == 30
    assert network.now - died < 4


@pytest.mark.parametrize("seed", range(4))
def test_five_percent_loss_does_not_look_like_a_death(seed: int) -> None:
    network, near, far, _ = internet(seed)
    node = PoolHost(network, "203.0.113.9", loss=0.05)
    node.use((near, UDP), (far, UDP))
    node.wait()
    talk(network, node, seconds=600)

    assert None not in [change.relayed for _, change in node.changes]


def test_a_relay_that_died_while_unused_is_abandoned_on_the_first_packets() -> None:
    network, near, far, node = internet()
    node.use((near, UDP), (far, UDP))
    node.wait()
    network.advance(60)

    near.is_dead = True
    took = talk_until(network, node, lambda: lives_at(node, FAR))

    assert took < 4


def test_an_idle_relay_is_not_asked_often() -> None:
    network, near, _, node = internet()
    node.use((near, UDP))
    node.wait()
    before = near.server.counters.requests.total()
    network.advance(600)

    asked = near.server.counters.requests.total() - before
    assert asked < 2 * (600 / 10) + 600 / 25


def test_peers_that_are_open_are_open_at_the_next_relay() -> None:
    network, near, far, node = internet()
    other = PoolHost(network, "203.0.113.2")
    other.use((far, UDP))
    other.wait()
    node.use((near, UDP), (far, UDP))
    node.wait()
    node.open(other.relayed)
    network.advance(5)

    near.is_dead = True
    talk_until(network, node, lambda: lives_at(node, FAR))
    network.advance(1)
    other.send(node.relayed, b"to your new address")
    network.advance(1)

    assert node.received[-1][1] == b"to your new address"


def test_packets_for_a_relay_that_has_gone_are_sent_through_home() -> None:
    network, near, far, node = internet()
    other = PoolHost(network, "203.0.113.2")
    other.use((far, UDP))
    other.wait()
    other.pool.permit(FAR, network.now)
    node.use((near, UDP), (far, UDP))
    node.wait()
    old_link = node.changes[-1][1].link
    assert old_link is not None
    near.is_dead = True
    talk_until(network, node, lambda: lives_at(node, FAR))

    node.send(other.relayed._replace(link=old_link), b"still arrives")
    network.advance(1)

    assert other.received[-1][1] == b"still arrives"


def test_home_moves_only_for_a_clear_and_steady_gain() -> None:
    network, near, far, node = internet()
    near.host.interfaces[0].uplink.delay = 0.030
    node.use((far, UDP), (near, UDP))
    node.wait()
    assert node.home == FAR

    near.host.interfaces[0].uplink.delay = 0.016  # Nearer, by 8 ms both ways.
    network.advance(600)
    assert node.home == FAR

    near.host.interfaces[0].uplink.delay = 0.001
    began = network.now
    assert network.run(until=lambda: lives_at(node, NEAR), limit=300)
    assert network.now - began > 50
    assert [change.relayed for _, change in node.changes].count(None) == 0


def test_a_recently_abandoned_relay_takes_over_when_the_new_home_dies() -> None:
    network, near, far, node = internet()
    move_from_far_to_near(network, near, far, node)

    near.is_dead = True
    took = talk_until(network, node, lambda: lives_at(node, FAR))

    assert took < 4, "it still had an allocation there"
    network.advance(2 * LINGER)
    assert lives_at(node, FAR)


def test_measurements_in_quick_succession_say_nothing_about_a_steady_gain() -> None:
    network, near, far, node = internet()
    near.host.interfaces[0].uplink.delay = 0.030
    node.use((far, UDP), (near, UDP))
    node.wait()

    near.host.interfaces[0].uplink.delay = 0.001
    for _ in range(10):
        node.pool.network_changed(network.now)
        node.host.drain()
        network.advance(0.5)

    assert node.home == FAR


def test_after_a_move_the_old_address_lingers_for_those_who_still_use_it() -> None:
    network, near, far, node = internet()
    near.host.interfaces[0].uplink.delay = 0.050
    other = PoolHost(network, "203.0.113.2")
    other.use((far, UDP))
    other.wait()
    node.use((far, UDP), (near, UDP))
    node.wait()
    node.open(other.relayed)
    old = node.relayed
    near.host.interfaces[0].uplink.delay = 0.001
    network.run(until=lambda: lives_at(node, NEAR), limit=300)

    other.send(old, b"to the old address")
    network.advance(1)
    assert node.received[-1][1] == b"to the old address"

    network.advance(LINGER + 1)
    assert far.server.allocations == 1


def test_where_udp_is_blocked_a_stream_carries_everything() -> None:
    network, near, _, _ = internet()
    router = network.add_router("office", "203.0.113.7", nat=Nat(), block_udp=True)
    node = PoolHost(network, "192.168.1.2", behind=router)
    other = PoolHost(network, "203.0.113.2")
    other.use((near, UDP))
    other.wait()
    began = network.now

    node.use((near, UDP), (near, TCP))
    node.wait()
    took = network.now - began
    other.open(node.relayed)
    node.open(other.relayed)
    network.advance(1)
    node.send(other.relayed, b"over", b"tcp")
    network.advance(1)

    assert took < 0.6
    assert node.pool.status.transport is TCP
    assert [packet for _, packet in other.received] == [b"over", b"tcp"]


def test_udp_replaces_the_stream_when_it_works_again() -> None:
    network, near, _, _ = internet()
    router = network.add_router("office", "203.0.113.7", nat=Nat(), block_udp=True)
    node = PoolHost(network, "192.168.1.2", behind=router)
    node.use((near, TCP), (near, UDP))
    node.wait()

    router.block_udp = False
    assert network.run(
        until=lambda: node.pool.status.transport is UDP and node.is_ready(), limit=60
    )

    assert [change.relayed for _, change in node.changes].count(None) == 0
    network.advance(2 * LINGER)
    assert near.server.allocations == 1
    assert not node.host.streams


def test_a_broken_stream_is_opened_again() -> None:
    network, near, _, _ = internet()
    router = network.add_router("office", "203.0.113.7", nat=Nat(), block_udp=True)
    node = PoolHost(network, "192.168.1.2", behind=router)
    node.use((near, TCP))
    node.wait()

    near.restart()
    network.run(until=lambda: not node.is_ready(), limit=20)
    node.wait()

    assert node.streams_opened == 2


def test_a_stream_that_dies_silently_is_noticed() -> None:
    network, near, far, _ = internet()
    node = PoolHost(network, "203.0.113.5")
    node.use((near, TCP), (far, TCP))
    node.wait()
    assert node.home == NEAR
    talk(network, node, seconds=5)

    near.is_dead = True
    took = talk_until(network, node, lambda: lives_at(node, FAR))

    assert took < 5


def test_a_server_that_does_not_answer_binding_is_tried_all_the_same() -> None:
    _, near, _, node = internet()
    original = near.receive

    def deaf(data: bytes, source: Endpoint, now: float) -> None:
        if data[:2] != binding_request(bytes(12))[:2]:
            original(data, source, now)

    near.receive = deaf  # type: ignore[method-assign]
    node.use((near, UDP))

    node.wait(limit=5)


def test_a_relay_that_sends_elsewhere_is_followed() -> None:
    _, near, _, node = internet()
    redirecting(near, to=Endpoint(FAR, 3478))

    node.use((near, UDP))
    node.wait(limit=5)

    assert node.home == FAR


def test_relays_that_redirect_in_a_circle_are_not_followed_forever() -> None:
    network, near, far, node = internet()
    asked = [redirecting(near, to=Endpoint(FAR, 3478))]
    asked.append(redirecting(far, to=Endpoint(NEAR, 3478)))

    node.use((near, UDP))
    network.advance(120)

    assert node.pool.status.state is not RelayState.ALLOCATED
    assert node.pool.status.error is not None
    assert "refers to another server" in node.pool.status.error
    assert sum(map(len, asked)) < 40


def test_wrong_credentials_are_shown_and_can_be_replaced() -> None:
    network, near, _, node = internet()
    node.use((near, UDP), lifetime=-UNIX_OFFSET / 2)
    network.advance(5)
    error = node.pool.status.error
    assert error is not None
    assert "credentials" in error

    node.use((near, UDP))
    network.advance(0.5)

    assert node.is_ready()


def test_renewed_credentials_do_not_disturb() -> None:
    network, near, far, node = internet()
    node.use((near, UDP), (far, UDP))
    node.wait()
    before = near.server.counters.requests["allocate"]
    for _ in range(10):
        node.use((near, UDP), (far, UDP))
        network.advance(1)

    assert len(node.changes) == 1
    assert near.server.counters.requests["allocate"] == before


def test_a_server_that_is_no_longer_listed_is_abandoned() -> None:
    network, near, far, node = internet()
    node.use((near, UDP), (far, UDP))
    node.wait()

    node.use((far, UDP))
    node.wait()
    network.advance(1)

    assert node.home == FAR
    assert near.server.allocations == 0


def test_permissions_are_requested_at_the_next_relay_too_until_they_end() -> None:
    network, near, far, node = internet()
    stranger = network.add_host("stranger", "192.0.2.9").open(5555)
    node.pool.permit("192.0.2.9", network.now)
    node.use((near, UDP), (far, UDP))
    node.wait()
    network.advance(1)
    near.is_dead = True
    talk_until(network, node, lambda: lives_at(node, FAR))
    network.advance(1)

    stranger.send(b"to your new address", node.relayed)
    network.advance(1)
    assert node.received[-1][1] == b"to your new address"

    node.pool.forbid("192.0.2.9")
    network.advance(400)
    stranger.send(b"too late", node.relayed)
    network.advance(1)
    assert node.received[-1][1] == b"to your new address"


def test_a_peer_that_was_closed_is_not_opened_at_the_next_relay() -> None:
    network, near, far, node = internet()
    node.use((near, UDP), (far, UDP))
    node.wait()
    peer = Endpoint("192.0.2.9", 5555)
    node.open(peer)
    network.advance(1)
    node.pool.close(peer)
    near.is_dead = True
    talk_until(network, node, lambda: lives_at(node, FAR))
    network.advance(1)

    assert far.server.counters.requests["channel_bind"] <= 1  # That of talking.
    assert node.pool.is_relay(Endpoint(FAR, 3478))
    assert not node.pool.is_relay(Endpoint("192.0.2.9", 3478))


def test_a_nearer_relay_that_refuses_leaves_home_where_it_is() -> None:
    network, near, far, node = internet()
    near.host.interfaces[0].uplink.delay = 0.050
    node.use((far, UDP), (near, UDP))
    node.wait()
    near.limits = Limits(allocations=0)
    near.restart()
    near.host.interfaces[0].uplink.delay = 0.001
    network.advance(600)

    assert lives_at(node, FAR)
    assert len(node.changes) == 1
    assert near.server.counters.errors[508] > 1


def test_the_queue_for_a_home_is_bounded() -> None:
    _, near, _, node = internet()
    near.is_dead = True
    node.use((near, UDP))
    for number in range(MAX_WAITING + 5):
        node.send(Endpoint(FAR, 50000), b"%d" % number)

    assert node.pool.drops == {RelayDrop.QUEUE_FULL: 5}


def test_after_a_change_of_networks_the_relay_is_asked_at_once() -> None:
    network, near, far, node = internet()
    node.use((near, UDP), (far, UDP))
    node.wait()
    before = node.relayed
    node.host.move("203.0.113.77")

    node.pool.network_changed(network.now)
    node.host.drain()
    network.advance(0.2)

    assert node.is_ready()
    assert node.relayed != before


def test_stopping_releases_all_allocations() -> None:
    network, near, far, node = internet()
    node.use((near, UDP), (far, UDP))
    node.wait()
    node.pool.stop(network.now)
    node.host.drain()
    network.advance(1)

    assert near.server.allocations + far.server.allocations == 0
    assert node.pool.get_timer() is None


def test_without_a_network_there_is_no_storm() -> None:
    network, near, far, node = internet()
    near.is_dead = far.is_dead = True
    node.use((near, UDP), (near, TCP), (far, UDP), (far, TCP))
    before = network.delivered
    network.advance(3600)

    assert (network.delivered - before) / 3600 < 2
    assert node.pool.status.error == "The relay does not answer over UDP"


def test_channel_data_and_stun_from_strangers_are_not_accepted() -> None:
    _, near, _, node = internet()
    node.use((near, UDP))
    node.wait()
    stranger = Endpoint("192.0.2.66", 3478)
    pool = node.pool

    assert pool.receive_channel_data([b"\x40\x00\x00\x00"], stranger, 0.0) == []
    assert pool.receive_stun(binding_request(bytes(12)), stranger, 0.0) is None
    assert (
        pool.receive_stun(binding_request(bytes(12)), Endpoint(NEAR, 3478), 0.0) is None
    )
    assert pool.receive_stream(99, b"data", 0.0) == []


def internet(seed: int = 0) -> tuple[Network, RelayHost, RelayHost, PoolHost]:
    """Return an internet with two relays, 12 and 42 ms away, and a node."""
    network = Network(seed)
    near, far = RelayHost(network, NEAR), RelayHost(network, FAR, delay=0.020)
    return network, near, far, PoolHost(network, "203.0.113.1")


def lives_at(node: PoolHost, address: str) -> bool:
    """Tell whether a node has an allocation at a relay."""
    return node.is_ready() and node.home == address


def talk(network: Network, node: PoolHost, seconds: float) -> None:
    """Send ten packets a second to nobody in particular."""
    end = network.now + seconds
    talk_until(network, node, lambda: network.now >= end)


def talk_until(network: Network, node: PoolHost, is_done: Callable[[], bool]) -> float:
    """Send ten packets a second until something is so; return how long it took."""
    began = network.now
    while not is_done():
        assert network.now - began < 3600
        node.send(Endpoint("192.0.2.200", 9), b"anybody?")
        network.run(until=network.now + 0.1)
    return network.now - began


def move_from_far_to_near(
    network: Network, near: RelayHost, far: RelayHost, node: PoolHost
) -> None:
    """Let a relay come nearer until it becomes home."""
    near.host.interfaces[0].uplink.delay = 0.030
    node.use((far, UDP), (near, UDP))
    node.wait()
    near.host.interfaces[0].uplink.delay = 0.001
    assert network.run(until=lambda: lives_at(node, NEAR), limit=300)


def redirecting(relay: RelayHost, to: Endpoint) -> list[bytes]:
    """Let a relay answer each Allocate with 300; return the list of those."""
    asked: list[bytes] = []
    original = relay.receive

    def redirect(data: bytes, source: Endpoint, now: float) -> None:
        if data[:2] != b"\x00\x03":
            original(data, source, now)
            return
        asked.append(data)
        request = parse(data)
        attributes = {
            Attribute.ERROR_CODE: StunErrorCode(300, "Try Alternate"),
            Attribute.ALTERNATE_SERVER: to,
        }
        answer = Message(
            request.method, Class.ERROR, request.transaction_id, attributes
        )
        relay.host.sockets[0].send(encode(answer), source)

    relay.receive = redirect  # type: ignore[method-assign]
    return asked
