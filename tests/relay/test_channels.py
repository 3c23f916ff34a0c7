"""The channels of a pool, as announced to whatever carries its packets."""

from meshwg.relay.pool import ChannelChanged
from meshwg.relay.server import Transport
from meshwg.transmit import FIRST_LINK, UDP, Endpoint
from meshwg.wire.channeldata import wrap
from tests.relay.simulation import PoolHost
from tests.sim.network import Network
from tests.world.relay import PORT, RelayHost

NEAR, FAR = "198.51.100.1", "198.51.100.2"
PEER = Endpoint("192.0.2.9", 5555)


def test_a_channel_is_announced_when_bound_but_not_when_renewed() -> None:
    network, _, node = internet()
    node.open(PEER)
    assert node.channels == []
    network.advance(600)
    (change,) = node.channels
    assert change.peer == PEER._replace(link=FIRST_LINK)
    assert change.server == Endpoint(NEAR, PORT)
    assert change.number is not None


def test_an_announced_channel_carries_packets_past_the_pool() -> None:
    network, _, node = internet()
    outside = network.add_host("outside", PEER.host).open(PEER.port)
    node.open(PEER)
    network.advance(1)
    (change,) = node.channels
    assert change.number is not None
    (datagram,) = wrap(change.number, [b"past the pool"])
    node.host.send_datagram(node.host.sockets[UDP], datagram, change.server, None)
    network.advance(1)
    assert [data for data, _ in outside.received] == [b"past the pool"]


def test_a_channel_is_lost_with_its_relay_and_bound_anew_at_the_next() -> None:
    network, near, node = internet(relays=2)
    node.open(PEER)
    network.advance(1)
    near.is_dead = True
    network.advance(30)
    first, lost, second = node.channels
    assert lost == ChannelChanged(first.peer, first.server, None)
    assert second.server.host == FAR
    assert second.peer.link != first.peer.link


def test_a_stopped_pool_has_no_channels() -> None:
    network, _, node = internet()
    node.open(PEER)
    network.advance(1)
    node.pool.stop(network.now)
    node.host.drain()
    assert [change.number is None for change in node.channels] == [False, True]


def test_an_unneeded_channel_is_lost_when_it_expires() -> None:
    network, _, node = internet()
    node.open(PEER)
    network.advance(1)
    node.pool.close(PEER)
    network.advance(180)
    assert len(node.channels) == 1
    network.advance(900)
    assert [change.number is None for change in node.channels] == [False, True]


def test_over_a_stream_there_are_no_channels_to_tell_of() -> None:
    network = Network()
    relay, node = RelayHost(network, NEAR), PoolHost(network, "203.0.113.1")
    node.use((relay, Transport.TCP))
    node.wait()
    node.open(PEER)
    network.advance(10)
    assert node.channels == []


def test_a_relay_heard_past_the_pool_is_not_considered_dead() -> None:
    network, near, node = internet(relays=2)
    node.open(PEER)
    network.advance(1)
    (change,) = node.channels
    asked = near.server.counters.requests.total()
    for _ in range(100):
        node.pool.note_sent(network.now)
        node.pool.note_received(change.peer, network.now)
        network.advance(0.1)
    assert near.server.counters.requests.total() == asked
    node.pool.note_received(PEER, network.now)


def internet(relays: int = 1) -> tuple[Network, RelayHost, PoolHost]:
    """Return an internet, its nearest relay, and a node with an allocation there."""
    network = Network()
    hosts = [RelayHost(network, NEAR), RelayHost(network, FAR, delay=0.020)][:relays]
    node = PoolHost(network, "203.0.113.1")
    node.use(*((host, Transport.UDP) for host in hosts))
    node.wait()
    assert node.pool.relayed is not None
    assert node.pool.relayed.link == UDP
    return network, hosts[0], node
